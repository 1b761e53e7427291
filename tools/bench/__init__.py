"""What the gateway costs, measured against the same engine without it.

Method. One gateway runs as a user would start it, on loopback, and starts one engine. Load goes in
turn through the gateway (TCP) and straight to the engine's own Unix socket, found in the process
table: the same engine, the same prompts, the same load generator, in short rounds A B, B A, A B …
so that drift of the machine meets both sides alike. Each round gives one ratio of throughputs
(gateway ÷ direct); reported is the median of the ratios, with the lowest and highest. The direct
side is spared TCP, which makes it the harder one to equal. A first round on each side is not
counted.

Requests are chat completions: streaming, temperature 0, `ignore_eos`, 64 tokens, 16 different
prompts, over keep-alive connections opened before the clock starts. The generator is one asyncio
process on uvloop that counts events, and checks that each stream is complete and as long as asked.
TTFT is the time to the first event. Added TTFT is the median over rounds of (p50 gateway − p50
direct); for p99 the percentiles of all rounds together are compared. The gateway's CPU is user
plus system time of its process alone, as the kernel counted it.

Engines: `demo` is the real vLLM with the demo model (CPU or GPU, whatever the gateway chooses). The
fake engine speaks vLLM's HTTP. Paced, at a fixed 100 tokens per second and request, it adds no
noise of its own: each event is a read and a write of its own, and each comes to a gateway that
slept, so its CPU time per request is the dearest case. All its answers take equally long, so that
requests stay as they began: in `paced` and `demo` all at once, each waiting for those before it, in
`spread` evenly over the time of an answer, as users come. Unlimited, it shows the ceiling, as
requests and events per second of the gateway's CPU time; events then arrive many at a time. Images
are 10 MB `data:` URLs, two replicas are two fake engines that the direct side takes in turn.

Start: from the start of the process to the first 200 from /healthz, and its resident memory then;
median of five, bytecode cached. `--control` sends both sides straight to a fake engine: what its
ratios differ from 1 is the noise of the method. Other work on the machine spoils every figure but
the ratios: the load average at the beginning is kept with the result.
"""
