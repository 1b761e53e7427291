import { notifications } from "@mantine/notifications";
import { useText } from "../i18n";

interface Note {
  message: string;
  title?: string;
  /** Something went wrong. */
  bad?: boolean;
}

/** Tells something in the corner of the page, for as long as it takes to read. */
export function useNotify(): (note: Note) => void {
  const { t } = useText();
  return ({ bad, ...note }) =>
    notifications.show({
      ...note,
      color: bad ? "red" : "petrol",
      autoClose: bad ? 10_000 : 4_000,
      closeButtonProps: { "aria-label": t("common.close") },
    });
}
