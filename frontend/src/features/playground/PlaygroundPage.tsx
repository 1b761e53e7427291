import "./playground.css";
import { Button, Card, Skeleton } from "@mantine/core";
import { useMemo } from "react";
import { useKept } from "../../api/kept-state";
import { useServed } from "../../api/queries";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { Icon } from "../../components/Icon";
import { Page } from "../../components/Page";
import { useText } from "../../i18n";
import { buildRequest, type Parameters, type Turn } from "../../lib/chat";
import { Composer } from "./Composer";
import { Conversation } from "./Conversation";
import { type Draft, EMPTY_DRAFT } from "./draft";
import { ParametersPanel } from "./ParametersPanel";
import { RawPanel } from "./RawPanel";
import { useChat } from "./useChat";

const DEFAULTS: Parameters = {
  model: "",
  system: "",
  temperature: null,
  topP: null,
  maxTokens: null,
  seed: null,
  stream: true,
  tools: "",
};

export default function PlaygroundPage() {
  const { t } = useText();
  const served = useServed();
  const [kept, setParameters] = useKept("parameters", DEFAULTS);
  const [draft, setDraft] = useKept<Draft>("draft", EMPTY_DRAFT);
  const models = served.data?.filter(({ kind }) => kind === "chat") ?? [];
  const model = models.find(({ id }) => id === kept.model) ?? models[0];
  const parameters = useMemo(() => ({ ...kept, model: model?.id ?? "" }), [kept, model?.id]);
  const { turns, live, sent, ask, stop, clear } = useChat(parameters);

  const drafted = useMemo<Turn[]>(() => {
    const text = draft.text.trim();
    return text || draft.images.length > 0 ? [{ role: "user", text, images: draft.images }] : [];
  }, [draft]);
  const { preview, problem } = useMemo(() => {
    try {
      return { preview: buildRequest([...turns, ...drafted], parameters), problem: null };
    } catch (error) {
      return { preview: null, problem: error instanceof Error ? error.message : String(error) };
    }
  }, [turns, drafted, parameters]);

  const submit = () => {
    if (live || drafted.length === 0 || problem) return;
    setDraft(EMPTY_DRAFT);
    void ask(drafted);
  };

  if (served.error && !served.data)
    return (
      <Page title={t("shell.playground")} hint={t("playground.hint")}>
        <ErrorState error={served.error} onRetry={() => void served.refetch()} />
      </Page>
    );
  if (!served.data) return <Skeleton height={320} radius="lg" aria-busy="true" />;
  if (!model)
    return (
      <EmptyState
        icon="playground"
        title={t("playground.noModel")}
        body={t("playground.noModelBody")}
      />
    );
  return (
    <Page
      title={t("shell.playground")}
      hint={t("playground.hint")}
      actions={
        <Button
          variant="default"
          leftSection={<Icon name="plus" size={16} />}
          onClick={clear}
          disabled={turns.length === 0 && !live}
        >
          {t("playground.clear")}
        </Button>
      }
    >
      <div className="playground">
        <Card padding={0} className="chat">
          <Conversation
            turns={turns}
            live={live}
            model={model}
            onAnswer={(more) => void ask(more)}
          />
          <Composer
            draft={draft}
            onDraft={setDraft}
            busy={live !== null}
            onSend={submit}
            onStop={stop}
          />
        </Card>
        <div className="playground-side">
          <ParametersPanel
            parameters={parameters}
            models={models}
            problem={problem}
            onChange={(change) => setParameters((old) => ({ ...old, ...change }))}
            onReset={() => setParameters({ ...DEFAULTS, model: kept.model })}
          />
          <RawPanel preview={preview} drafted={drafted.length > 0} sent={sent} />
        </div>
      </div>
    </Page>
  );
}
