// Where one incarnation of a daemon answers, and the secret that it expects.

/** Where a ready daemon answers. */
export interface Endpoint {
  readonly workspaceId: string;
  readonly incarnation: string;
  readonly socketPath: string;
  readonly secret: string;
}
