import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import "@mantine/notifications/styles.css";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useState } from "react";
import { createQueryClient } from "../api/queries";
import { theme, variables } from "../theme";
import { ShellState } from "./context";
import { router } from "./router";
import { schemeManager } from "./scheme";

export function App({ keyFromLink }: { keyFromLink: boolean }) {
  const [client] = useState(createQueryClient);
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={variables}
      colorSchemeManager={schemeManager}
      defaultColorScheme="auto"
    >
      <QueryClientProvider client={client}>
        <ShellState keyFromLink={keyFromLink}>
          <Notifications position="bottom-right" />
          <RouterProvider router={router} />
        </ShellState>
      </QueryClientProvider>
    </MantineProvider>
  );
}
