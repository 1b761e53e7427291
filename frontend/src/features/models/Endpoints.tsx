import type { Model } from "../../api/types";
import { EndpointList } from "../../components/EndpointList";
import { ENDPOINTS } from "../../lib/endpoints";

export function Endpoints({ model }: { model: Model }) {
  return <EndpointList endpoints={ENDPOINTS[model.kind]} />;
}
