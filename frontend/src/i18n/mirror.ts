/** The keys of a dictionary, all of them and no other, with texts of another language. */
export type Mirror<T> = { [K in keyof T]: T[K] extends string ? string : Mirror<T[K]> };
