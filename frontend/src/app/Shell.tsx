import { AppShell } from "@mantine/core";
import { Outlet, useRouter, useRouterState } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useRef } from "react";
import { useConnection } from "../api/queries";
import { useText } from "../i18n";
import { Banners } from "./Banners";
import { Header } from "./Header";
import { SideNav, TabBar } from "./Nav";
import { PAGES } from "./pages";
import { useShortcuts } from "./shortcuts";

const Palette = lazy(() => import("./Palette"));
const Help = lazy(() => import("./Help"));

export function Shell() {
  const { t } = useText();
  const main = useRef<HTMLElement>(null);
  const { help, palette, setHelp, setPalette } = useShortcuts();
  useNoStrayDrops();
  useTitle();
  useAllPages();
  return (
    <AppShell
      header={{ height: 60 }}
      navbar={{ width: 224, breakpoint: "md", collapsed: { mobile: true } }}
      footer={{ height: { base: 60, md: 0 } }}
      padding={{ base: "md", md: "xl" }}
    >
      {/* biome-ignore lint/a11y/useValidAnchor: a skip link; its target takes the focus. */}
      <a
        className="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {t("shell.skip")}
      </a>
      <AppShell.Header>
        <Header onSearch={() => setPalette(true)} />
      </AppShell.Header>
      <AppShell.Navbar p="sm" component="div" visibleFrom="md">
        <SideNav />
      </AppShell.Navbar>
      <AppShell.Main id="main" ref={main} tabIndex={-1}>
        <Banners />
        <Outlet />
      </AppShell.Main>
      <AppShell.Footer hiddenFrom="md" component="div">
        <TabBar />
      </AppShell.Footer>
      <Suspense>
        {palette && <Palette onClose={() => setPalette(false)} onHelp={() => setHelp(true)} />}
        {help && <Help onClose={() => setHelp(false)} />}
      </Suspense>
    </AppShell>
  );
}

/** Every page is at hand once the stream is live: when the gateway goes, all can still be looked at. */
function useAllPages(): void {
  const router = useRouter();
  const { phase } = useConnection();
  useEffect(() => {
    if (phase !== "live") return;
    for (const { path } of PAGES) void router.preloadRoute({ to: path });
  }, [router, phase]);
}

/** A file that misses its target must not replace the page. */
function useNoStrayDrops(): void {
  useEffect(() => {
    const refuse = (event: DragEvent) => event.preventDefault();
    const events = ["dragover", "drop"] as const;
    for (const name of events) window.addEventListener(name, refuse);
    return () => {
      for (const name of events) window.removeEventListener(name, refuse);
    };
  }, []);
}

/** The page's name and, when the stream is lost, a warning in the tab's title. */
function useTitle(): void {
  const { t } = useText();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const { phase } = useConnection();
  const page = PAGES.find((entry) => entry.path === path);
  useEffect(() => {
    const mark = phase === "offline" ? "⚠ " : "";
    document.title = `${mark}${page ? `${t(`shell.${page.name}`)} · ` : ""}${t("shell.title")}`;
  }, [page, phase, t]);
}
