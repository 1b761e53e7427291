/** Any page may open the dialog of the API key; the shell provides how. */
import { createContext, useContext } from "react";

export const OpenKeyDialog = createContext<() => void>(() => undefined);
export const useOpenKeyDialog = () => useContext(OpenKeyDialog);
