import {
  ActionIcon,
  Button,
  Group,
  type MantineColorScheme,
  Text,
  Tooltip,
  useMantineColorScheme,
} from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useKey } from "../api/key";
import { useConnection, useStatus } from "../api/queries";
import { Icon, type IconName } from "../components/Icon";
import { useOpenKeyDialog } from "../components/key-dialog";
import { setLanguage, useText } from "../i18n";

export function Header({ onSearch }: { onSearch: () => void }) {
  const { t } = useText();
  return (
    <Group h="100%" px={{ base: "sm", md: "lg" }} justify="space-between" wrap="nowrap" gap="xs">
      <Group gap="md" wrap="nowrap">
        <Link to="/" className="brand" aria-label={t("shell.title")}>
          <img src="/icon.svg" width={30} height={30} alt="" />
          <Text fw={680} size="lg" visibleFrom="sm" component="span">
            {t("shell.title")}
          </Text>
        </Link>
        <ConnectionState />
        <InFlight />
      </Group>
      <Group gap={6} wrap="nowrap">
        <SearchButton onClick={onSearch} />
        <KeyButton />
        <LanguageButton />
        <ThemeButton />
      </Group>
    </Group>
  );
}

const TONE = { connecting: "--warn", live: "--ok", offline: "--bad", denied: "--warn" } as const;

function ConnectionState() {
  const { t } = useText();
  const { phase } = useConnection();
  const label = t(`shell.connection.${phase}`);
  return (
    <Tooltip label={label}>
      <span className="connection" role="status" data-phase={phase}>
        <span className="dot" style={{ background: `var(${TONE[phase]})` }} />
        <span className="connection-word">{label}</span>
      </span>
    </Tooltip>
  );
}

function InFlight() {
  const { t } = useText();
  const { data } = useStatus();
  if (!data) return null;
  const models = Object.values(data.models);
  const count = models.reduce((sum, model) => sum + model.in_flight + model.queued, 0);
  const label = t("shell.inFlight", { count });
  return (
    <Tooltip label={label}>
      <Link to="/activity" className="in-flight" aria-label={label} data-busy={count > 0}>
        <Icon name="activity" size={16} />
        {count}
      </Link>
    </Tooltip>
  );
}

function SearchButton({ onClick }: { onClick: () => void }) {
  const { t } = useText();
  return (
    <Tooltip label={t("shell.shortcuts.palette")}>
      <Button
        size="sm"
        px={10}
        variant="subtle"
        color="gray"
        c="var(--mantine-color-text)"
        onClick={onClick}
        aria-label={t("shell.shortcuts.palette")}
      >
        <Icon name="search" />
        <kbd className="search-keys wide-only" style={{ marginLeft: 8 }}>
          Ctrl K
        </kbd>
      </Button>
    </Tooltip>
  );
}

function KeyButton() {
  const { t } = useText();
  const { key } = useKey();
  const { phase } = useConnection();
  const open = useOpenKeyDialog();
  const label = t("common.pair", {
    name: t("shell.key.open"),
    value: t(key ? "shell.key.current" : "shell.key.missing"),
  });
  const wanted = phase === "denied";
  return (
    <Tooltip label={label}>
      <Button
        size="sm"
        px={10}
        variant={wanted ? "filled" : "subtle"}
        color={wanted ? "petrol" : "gray"}
        c={wanted ? undefined : "var(--mantine-color-text)"}
        onClick={open}
        aria-label={label}
      >
        <Icon name="key" />
        <span className="wide-only" style={{ marginLeft: 8 }}>
          {t("shell.key.title")}
        </span>
      </Button>
    </Tooltip>
  );
}

function LanguageButton() {
  const { t, language } = useText();
  const other = language === "fr" ? "en" : "fr";
  return (
    <Tooltip label={t("shell.language")}>
      <Button
        size="sm"
        px={10}
        variant="subtle"
        c="var(--mantine-color-text)"
        color="gray"
        onClick={() => void setLanguage(other)}
        aria-label={t("common.pair", {
          name: t("shell.language"),
          value: `${language.toUpperCase()} → ${other.toUpperCase()}`,
        })}
        lang={other}
      >
        <span aria-hidden="true">{language.toUpperCase()}</span>
      </Button>
    </Tooltip>
  );
}

const NEXT: Record<MantineColorScheme, MantineColorScheme> = {
  auto: "light",
  light: "dark",
  dark: "auto",
};
const SCHEME_ICON: Record<MantineColorScheme, IconName> = {
  auto: "auto",
  light: "sun",
  dark: "moon",
};

function ThemeButton() {
  const { t } = useText();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const label = t("shell.theme.switch", { name: t(`shell.theme.${colorScheme}`) });
  return (
    <Tooltip label={label}>
      <ActionIcon
        size={38}
        variant="subtle"
        color="gray"
        c="var(--mantine-color-text)"
        onClick={() => setColorScheme(NEXT[colorScheme])}
        aria-label={label}
      >
        <Icon name={SCHEME_ICON[colorScheme]} />
      </ActionIcon>
    </Tooltip>
  );
}
