import { Button, Checkbox, Group, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { useReload } from "../../api/actions";
import { Dialog } from "../../components/Dialog";
import { ErrorState } from "../../components/ErrorState";
import { Icon } from "../../components/Icon";
import { useText } from "../../i18n";

/** Absent where no MODELS_FILE is set. */
export function ReloadButton({ file }: { file: string | null }) {
  const { t } = useText();
  const [open, setOpen] = useState(false);
  if (file === null) return null;
  return (
    <>
      <Button
        variant="default"
        leftSection={<Icon name="retry" size={16} />}
        onClick={() => setOpen(true)}
      >
        {t("models.reload.open")}
      </Button>
      {open && <ReloadDialog file={file} onClose={() => setOpen(false)} />}
    </>
  );
}

function ReloadDialog({ file, onClose }: { file: string; onClose: () => void }) {
  const { t } = useText();
  const [restart, setRestart] = useState(false);
  const { mutate, isPending, data, error } = useReload();
  return (
    <Dialog onClose={onClose} title={t("models.reload.open")}>
      <Stack>
        <Text size="sm" c="dimmed">
          {t("models.reload.body")} <code className="mono break">{file}</code>
        </Text>
        <Checkbox
          label={t("models.reload.restart")}
          description={t("models.reload.restartHint")}
          checked={restart}
          onChange={(event) => setRestart(event.currentTarget.checked)}
        />
        {data && (
          <ul className="names" aria-label={t("models.reload.done")}>
            {data.models.map(({ key, change, fields, waiting }) => (
              <li key={key}>
                <Text size="sm">
                  <b>{key}</b>: {t(`models.reload.${change}`)}
                  {fields.length > 0 && ` (${fields.join(", ")})`}
                  {waiting.length > 0 && ` · ${t("models.waiting", { names: waiting.join(", ") })}`}
                </Text>
              </li>
            ))}
          </ul>
        )}
        {error && <ErrorState error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.close")}
          </Button>
          <Button loading={isPending} onClick={() => mutate(restart)} data-autofocus>
            {t("models.reload.submit")}
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
