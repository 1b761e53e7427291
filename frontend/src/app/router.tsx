import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
} from "@tanstack/react-router";
import { NotFound, PageCrashed } from "./Fallbacks";
import { Shell } from "./Shell";

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

const overview = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: lazyRouteComponent(() => import("../features/overview/OverviewPage")),
});
const models = createRoute({
  getParentRoute: () => root,
  path: "/models",
  component: lazyRouteComponent(() => import("../features/models/ModelsPage")),
});
const playground = createRoute({
  getParentRoute: () => root,
  path: "/playground",
  component: lazyRouteComponent(() => import("../features/playground/PlaygroundPage")),
});
const audio = createRoute({
  getParentRoute: () => root,
  path: "/audio",
  component: lazyRouteComponent(() => import("../features/audio/AudioPage")),
});
const activity = createRoute({
  getParentRoute: () => root,
  path: "/activity",
  component: lazyRouteComponent(() => import("../features/activity/ActivityPage")),
});
const reference = createRoute({
  getParentRoute: () => root,
  path: "/reference",
  component: lazyRouteComponent(() => import("../features/reference/ReferencePage")),
});

export const router = createRouter({
  routeTree: root.addChildren([overview, models, playground, audio, activity, reference]),
  defaultPreload: "intent",
  defaultErrorComponent: PageCrashed,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
