import { SegmentedControl, Stack } from "@mantine/core";
import { useState } from "react";
import { useEngineLog } from "../../api/logs";
import type { Model } from "../../api/types";
import { ErrorState } from "../../components/ErrorState";
import { LogView } from "../../components/LogView";
import { useText } from "../../i18n";

export function EngineLog({ model }: { model: Model }) {
  const { t } = useText();
  const { data, error } = useEngineLog(model.key);
  const [chosen, setChosen] = useState<string | null>(null);
  if (error && !data) return <ErrorState error={error} />;
  const names = Object.keys(data ?? {});
  const name = chosen && names.includes(chosen) ? chosen : (names[0] ?? model.key);
  return (
    <Stack gap="xs">
      {names.length > 1 && (
        <SegmentedControl
          size="xs"
          data={names}
          value={name}
          onChange={setChosen}
          aria-label={t("models.log.replica")}
        />
      )}
      <LogView lines={data?.[name] ?? []} label={t("models.log.label", { name })} height={320} />
    </Stack>
  );
}
