import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { useDeleteCached } from "../../api/hub";
import type { CachedRepository } from "../../api/types";
import { Dialog } from "../../components/Dialog";
import { ErrorState } from "../../components/ErrorState";
import { useNotify } from "../../components/notify";
import { useText } from "../../i18n";
import { bytes } from "../../lib/format";

/** Deleting dozens of gigabytes wants its name typed. */
export function DeleteDialog({ repo, onClose }: { repo: CachedRepository; onClose: () => void }) {
  const { t, language } = useText();
  const notify = useNotify();
  const [typed, setTyped] = useState("");
  const { mutate, isPending, error } = useDeleteCached();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    mutate(repo.repo, {
      onSuccess: () => {
        notify({ message: t("models.cache.deleted", { repo: repo.repo }) });
        onClose();
      },
    });
  };
  return (
    <Dialog onClose={onClose} title={t("models.cache.confirmTitle")}>
      <form onSubmit={submit}>
        <Stack>
          <Text size="sm">
            {t("models.cache.confirm", { size: bytes(repo.bytes, language) })}{" "}
            <code className="mono break">{repo.repo}</code>
          </Text>
          <TextInput
            aria-label={t("models.cache.repo")}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
          {error && <ErrorState error={error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              {t("common.cancel")}
            </Button>
            <Button type="submit" color="red.8" disabled={typed !== repo.repo} loading={isPending}>
              {t("common.delete")}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
