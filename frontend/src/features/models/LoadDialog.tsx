import {
  Button,
  Checkbox,
  Group,
  NumberInput,
  SegmentedControl,
  SimpleGrid,
  Stack,
  Text,
} from "@mantine/core";
import { useState } from "react";
import type { Placement } from "../../api/actions";
import type { Gpu, Model } from "../../api/types";
import { Dialog } from "../../components/Dialog";
import { useText } from "../../i18n";
import { bytesOf } from "../../lib/format";

interface Props {
  model: Model;
  gpus: Gpu[];
  onClose: () => void;
  onLoad: (placement: Placement) => void;
}

export function LoadDialog({ model, gpus, onClose, onLoad }: Props) {
  const { t, language } = useText();
  const wanted = model.preferred_device_ids.filter((id) => gpus.some((gpu) => gpu.index === id));
  const [mode, setMode] = useState(wanted.length > 0 ? "choose" : "auto");
  const [chosen, setChosen] = useState<number[]>(wanted);
  const [replicas, setReplicas] = useState(Math.max(1, model.replicas.length));
  const [most, setMost] = useState(false);
  const uneven = mode === "choose" && !most && chosen.length % replicas !== 0;
  const nothing = mode === "choose" && chosen.length === 0;

  const submit = () => {
    const ids = mode === "choose" ? chosen : [];
    onLoad({ gpu_device_ids: ids, replicas: most ? "auto" : replicas });
    onClose();
  };
  const toggle = (id: number) =>
    setChosen((old) =>
      old.includes(id) ? old.filter((one) => one !== id) : [...old, id].sort((a, b) => a - b),
    );

  return (
    <Dialog onClose={onClose} title={t("models.picker.title", { model: model.key })}>
      <Stack>
        {gpus.length === 0 ? (
          <Text size="sm">{t("models.picker.noGpus")}</Text>
        ) : (
          <>
            <SegmentedControl
              fullWidth
              value={mode}
              onChange={setMode}
              aria-label={t("models.picker.gpus")}
              data={[
                { value: "auto", label: t("models.picker.auto") },
                { value: "choose", label: t("models.picker.choose") },
              ]}
            />
            {mode === "choose" && (
              <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="xs">
                {gpus.map((gpu) => (
                  <Checkbox
                    key={gpu.index}
                    checked={chosen.includes(gpu.index)}
                    onChange={() => toggle(gpu.index)}
                    label={`GPU ${gpu.index} · ${gpu.name}`}
                    description={[
                      t("models.picker.used", {
                        used: bytesOf(gpu.memory_used, gpu.memory_total, language),
                      }),
                      ...new Set(gpu.by_model.map((share) => share.model)),
                    ].join(" · ")}
                  />
                ))}
              </SimpleGrid>
            )}
            {nothing && (
              <Text size="sm" c="dimmed" role="status">
                {t("models.picker.nothing")}
              </Text>
            )}
          </>
        )}
        <NumberInput
          label={t("models.picker.replicas")}
          description={t("models.picker.replicasHint")}
          min={1}
          max={64}
          value={most ? "" : replicas}
          disabled={most}
          onChange={(value) => setReplicas(Math.max(1, Number(value) || 1))}
          error={uneven && t("models.picker.uneven", { gpus: chosen.length, replicas })}
        />
        {gpus.length > 0 && (
          <Checkbox
            label={t("models.picker.most")}
            checked={most}
            onChange={(event) => setMost(event.currentTarget.checked)}
          />
        )}
        {model.state === "ready" && (
          <Text size="sm" c="dimmed">
            {t("models.picker.reload")}
          </Text>
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t("common.cancel")}
          </Button>
          <Button onClick={submit} disabled={uneven || nothing}>
            {t("models.picker.submit")}
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
