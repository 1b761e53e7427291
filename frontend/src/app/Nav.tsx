import { Stack } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Icon } from "../components/Icon";
import { useText } from "../i18n";
import { PAGES } from "./pages";

export function SideNav() {
  const { t } = useText();
  return (
    <Stack gap={4} component="nav" aria-label={t("shell.nav")}>
      {PAGES.map(({ name, path }) => (
        <Link key={name} to={path} className="nav-link" activeOptions={{ exact: true }}>
          <Icon name={name} />
          {t(`shell.${name}`)}
        </Link>
      ))}
    </Stack>
  );
}

/** The same entries at the bottom of a narrow screen. */
export function TabBar() {
  const { t } = useText();
  return (
    <nav aria-label={t("shell.nav")} style={{ display: "flex", height: "100%" }}>
      {PAGES.map(({ name, path }) => (
        <Link key={name} to={path} className="tab-link" activeOptions={{ exact: true }}>
          <Icon name={name} size={20} />
          <span>{t(`shell.${name}`)}</span>
        </Link>
      ))}
    </nav>
  );
}
