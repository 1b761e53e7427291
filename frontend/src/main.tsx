import "@mantine/core/styles.css";
import "./app/app.css";
import "./components/components.css";
import { createRoot } from "react-dom/client";
import { takeKeyFromAddress } from "./api/key";
import { App } from "./app/App";
import { startI18n } from "./i18n";

await startI18n();
const fromLink = takeKeyFromAddress();
const root = document.getElementById("root");
if (root) createRoot(root).render(<App keyFromLink={fromLink} />);
