import { Button } from "@mantine/core";
import { EmptyState } from "../components/EmptyState";
import { useText } from "../i18n";

export function NotFound() {
  const { t } = useText();
  return (
    <EmptyState icon="search" title={t("shell.notFound.title")} body={t("shell.notFound.body")} />
  );
}

export function PageCrashed({ error }: { error: unknown }) {
  const { t } = useText();
  return (
    <EmptyState icon="alert" title={t("shell.crashed.title")} body={t("shell.crashed.body")}>
      <code className="mono break">{String(error)}</code>
      <Button onClick={() => window.location.reload()}>{t("shell.crashed.reload")}</Button>
    </EmptyState>
  );
}
