import { Modal, type ModalProps } from "@mantine/core";
import { useEffect, useRef } from "react";
import { useText } from "../i18n";

type Props = Omit<ModalProps, "opened" | "closeButtonProps">;

/** Open as long as it is mounted; then the focus goes back to where it came from. */
export function Dialog(props: Props) {
  const { t } = useText();
  const opener = useRef(document.activeElement);
  useEffect(
    () => () => {
      const { current } = opener;
      // What it was opened with may be gone: a card that now loads has no such button.
      const back = current?.isConnected ? current : document.getElementById("main");
      if (back instanceof HTMLElement) back.focus({ preventScroll: true });
    },
    [],
  );
  return <Modal {...props} opened closeButtonProps={{ "aria-label": t("common.close") }} />;
}
