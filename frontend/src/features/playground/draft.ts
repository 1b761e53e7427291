/** What is being written. */
export interface Draft {
  text: string;
  /** Data URLs. */
  images: string[];
}

export const EMPTY_DRAFT: Draft = { text: "", images: [] };
export const MOST_IMAGE_BYTES = 20 * 1024 * 1024;
