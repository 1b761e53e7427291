import { activity } from "./activity";
import { audio } from "./audio";
import { common } from "./common";
import { models } from "./models";
import { overview } from "./overview";
import { playground } from "./playground";
import { reference } from "./reference";
import { shell } from "./shell";

export const en = { common, shell, overview, models, playground, audio, activity, reference };
