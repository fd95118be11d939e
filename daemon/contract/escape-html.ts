// Escapes text for HTML, so that a browser never reads the text as markup.

/** `text` with every character escaped that HTML reads as markup, for element contents and quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
