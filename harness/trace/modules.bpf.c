/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Modules that come and go while a capture is open. Their records have their own ring: the reader takes a module's symbols as soon
 * as it has come (modules.py), and does not look for that among the records of packets.
 */

struct module_event {
	u64 module, time;
	u32 gone, reserved;
	char name[MODULE_NAME_BYTES];
};

BPF_RINGBUF_OUTPUT(modules, MODULE_PAGES);

static __always_inline int module_changed(u64 module, u32 gone)
{
	struct module_event *event = modules.ringbuf_reserve(sizeof(struct module_event));

	if (!event) {
		lose();
		return 0;
	}
	event->module = module;
	event->gone = gone;
	event->reserved = 0;
	bpf_probe_read_kernel(event->name, sizeof(event->name), (void *)(module + MODULE_NAME));
	event->time = bpf_ktime_get_ns();
	modules.ringbuf_submit(event, 0);
	return 0;
}

/* Its symbols are there, its init function has not run yet. */
int probe_module_load(struct bpf_raw_tracepoint_args *ctx)
{
	return module_changed(ctx->args[0], 0);
}

/*
 * Its exit function has run, and its memory goes now. The key of conntrack's ids may be in there: the reader says where another one is. On
 * 5.10 a probe that reads what is not mapped counts as missed (kprobe_fault_handler()).
 */
int probe_module_free(struct bpf_raw_tracepoint_args *ctx)
{
	int what = CT_ID_KEY;
	u64 *where = control.lookup(&what);

	if (where)
		*where = 0;
	return module_changed(ctx->args[0], 1);
}
