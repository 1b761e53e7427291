import { Text, TextInput } from "@mantine/core";
import { type KeyboardEvent, useState } from "react";
import { Dialog } from "../components/Dialog";
import { Icon } from "../components/Icon";
import { useText } from "../i18n";
import { usePaletteActions } from "./palette-actions";

interface Props {
  onClose: () => void;
  onHelp: () => void;
}

/** Ctrl-K: every page, loading or unloading every model, and what the header holds. */
export default function Palette({ onClose, onHelp }: Props) {
  const { t } = useText();
  const [search, setSearch] = useState("");
  const [at, setAt] = useState(0);
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = usePaletteActions(onHelp).filter(({ label }) =>
    words.every((word) => label.toLowerCase().includes(word)),
  );
  const chosen = Math.min(at, found.length - 1);
  const run = (index: number) => {
    onClose();
    found[index]?.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((chosen + step + found.length) % Math.max(1, found.length));
    else if (event.key === "Enter") run(chosen);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog onClose={onClose} centered={false} yOffset="12vh" title={t("shell.shortcuts.palette")}>
      <TextInput
        data-autofocus
        size="md"
        leftSection={<Icon name="search" />}
        placeholder={t("shell.palette.search")}
        aria-label={t("shell.palette.search")}
        role="combobox"
        aria-expanded="true"
        aria-controls="palette"
        aria-activedescendant={found[chosen] ? `palette-${chosen}` : undefined}
        value={search}
        onChange={(event) => {
          setSearch(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div id="palette" role="listbox" aria-label={t("shell.palette.search")} className="palette">
        {found.map(({ id, icon, label }, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents lint/a11y/useFocusableInteractive: the field has the focus and its keys choose, as in every combobox.
          <div
            key={id}
            id={`palette-${index}`}
            role="option"
            aria-selected={index === chosen}
            className="palette-row"
            onClick={() => run(index)}
            onPointerMove={() => setAt(index)}
          >
            <Icon name={icon} />
            {label}
          </div>
        ))}
      </div>
      {found.length === 0 && (
        <Text size="sm" c="dimmed" ta="center" role="status">
          {t("shell.palette.nothing")}
        </Text>
      )}
    </Dialog>
  );
}
