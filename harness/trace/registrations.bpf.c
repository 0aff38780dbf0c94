/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hooks that are registered and unregistered: who does it, where, and what it makes of the array.
 *
 * __nf_register_net_hook() and __nf_unregister_net_hook() know the hook point, nf_hook_entries_insert_raw() and nf_hook_entries_delete_raw()
 * an array that is no point's (NAT's). All of them have nf_hook_entries_grow() or __nf_hook_entries_try_shrink() make the new array, under
 * the lock that guards it: there both arrays are read. What is removed has become a dummy in the old array before.
 *
 * Registrations belong to a task: none nests in another. Their time is that of the last probe before the new array is published, so that no
 * traversal of that array was entered before.
 */

/* hook_event.how */
#define REGISTERED 1
#define UNREGISTERED 2
#define INSERTED 3
#define DELETED 4

#define ARRAY_SLOTS 64	/* of an array that has more the first ones are told */
#define INGRESS_OF_INET 5
#define PF_INET_ANY 1
#define PF_NETDEV 5

/* A registration under way. */
struct registration {
	u64 number, net, ops, at, before, after, time;
	u32 pf, how;
	u16 slots_before, slots_after, reserved[2];
};

BPF_TABLE("hash", u64, struct registration, registrations, 1024);	/* by the task */

static __always_inline int begin_registration(u32 how, u64 net, u32 pf, u64 ops)
{
	u64 task = bpf_get_current_task();
	struct registration fresh = { .how = how, .net = net, .pf = pf, .ops = ops };

	if (setting(PHASE) == OFF)
		return 0;
	/* A task's registrations have different times. */
	fresh.number = fresh.time = bpf_ktime_get_ns();
	if (registrations.update(&task, &fresh))
		lose();
	return 0;
}

/* Who a hook is, beside its function: a chain of nftables', a BPF program. */
static __always_inline void name_hook(struct name *name, u64 function, u64 priv)
{
	u64 aux = 0;
	u32 id = 0;

	name->kind = NO_NAME;
	if (HAS_CHAINS && chained.lookup(&function)) {
		name->kind = CHAIN_NAMED;
		name_chain(name, priv);
	} else if (RUN_BPF && function == RUN_BPF) {
		name->kind = PROGRAM_NAMED;
		name->table[0] = name->chain[0] = 0;
		FETCH(aux, priv + PROG_AUX);
		FETCH(id, aux + AUX_ID);
		name->handle = id;
		bpf_probe_read_kernel_str(name->chain, AUX_NAME_BYTES, (void *)(aux + AUX_NAME));
	}
}

/* The slots of an array, each in a record. */
static __always_inline u16 tell_array(u64 array, u64 number, u8 after, u64 now)
{
	struct { u64 function, priv; } hook;
	struct slot_event *event;
	u64 slot, ops;
	u16 slots = 0;
	u32 i;

	if (!array)
		return 0;
	FETCH(slots, array + ENTRIES_NUM);
#pragma clang loop unroll(disable)
	for (i = 0; i < ARRAY_SLOTS; i++) {
		if (i >= slots)
			break;
		event = reserve_slot_event();
		if (!event) {
			lose();
			break;
		}
		hook.function = hook.priv = ops = 0;
		slot = array + ENTRIES_HOOKS;
		FETCH(hook.function, slot + i * ENTRY_SIZE + ENTRY_HOOK);
		FETCH(hook.priv, slot + i * ENTRY_SIZE + ENTRY_PRIV);
		FETCH(ops, slot + slots * ENTRY_SIZE + i * sizeof(ops));
		event->type = EV_SLOT;
		event->after = after;
		event->index = i;
		event->priority = 0;
		FETCH(event->priority, ops + OPS_PRIORITY);
		event->registration = number;
		event->function = hook.function;
		event->priv = hook.priv;
		event->time = now;
		name_hook(&event->name, hook.function, hook.priv);
		submit(event);
	}
	return slots;
}

/* struct static_key nf_hooks_needed[NFPROTO_NUMPROTO][NF_MAX_HOOKS]; inet's ingress has the key, and the array, of netdev's. */
static __always_inline u8 needed(s32 *count, u32 pf, u32 hook)
{
	*count = 0;
	if (pf == PF_INET_ANY && hook == INGRESS_OF_INET) {
		pf = PF_NETDEV;
		hook = 0;
	}
	return HOOKS_NEEDED && hook < KEYS_HOOKS && !FETCH(*count, HOOKS_NEEDED + (pf * KEYS_HOOKS + hook) * KEY_BYTES + KEY_ENABLED) ? HAS_KEY : 0;
}

static __always_inline int tell_registration(struct pt_regs *ctx, struct registration *told, s32 result)
{
	struct hook_event *event = reserve_hook_event();
	u64 dev = 0, function = 0, priv = 0;
	u32 hook = 0;

	if (!event) {
		lose();
		return 0;
	}
	FETCH(hook, told->ops + OPS_HOOKNUM);
	FETCH(function, told->ops + OPS_HOOK);
	FETCH(priv, told->ops + OPS_PRIV);
	FETCH(dev, told->ops + OPS_DEV);
	event->type = EV_HOOK;
	event->how = told->how;
	event->pf = told->pf;
	event->hook = hook;
	if (!told->net)
		FETCH(event->pf, told->ops + OPS_PF);
	event->result = result;
	event->registration = told->number;
	event->netns = 0;
	if (told->net)
		FETCH(event->netns, told->net + NET_INUM);
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->priority = 0;
	FETCH(event->priority, told->ops + OPS_PRIORITY);
	event->flags = told->net ? needed(&event->key, told->pf, hook) : 0;
	event->function = function;
	event->priv = priv;
	event->before = told->before;
	event->after = told->after;
	event->slots_before = told->slots_before;
	event->slots_after = told->slots_after;
	event->device[0] = 0;
	if (dev)
		FETCH(event->device, dev + DEV_NAME);
	bpf_get_current_comm(event->process, sizeof(event->process));
	event->link = 0;
	if (RUN_BPF && function == RUN_BPF)
		FETCH(event->link, told->ops - LINK_OPS + LINK_ID);
	__builtin_memset(event->stack, 0, sizeof(event->stack));
	bpf_get_stack(ctx, event->stack, sizeof(event->stack), 0);
	name_hook(&event->name, function, priv);
	event->time = told->time;
	submit(event);
	return 0;
}

/* static int __nf_register_net_hook(struct net *net, int pf, const struct nf_hook_ops *reg) */
int probe_hook_register(struct pt_regs *ctx)
{
	runs(RAN_HOOK_REGISTER);
	return begin_registration(REGISTERED, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx));
}

/* static void __nf_unregister_net_hook(struct net *net, int pf, const struct nf_hook_ops *reg) */
int probe_hook_unregister(struct pt_regs *ctx)
{
	runs(RAN_HOOK_UNREGISTER);
	return begin_registration(UNREGISTERED, PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM3(ctx));
}

/* int nf_hook_entries_insert_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg) */
int probe_hook_insert(struct pt_regs *ctx)
{
	runs(RAN_HOOK_INSERT);
	return begin_registration(INSERTED, 0, 0, PT_REGS_PARM2(ctx));
}

/* void nf_hook_entries_delete_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg) */
int probe_hook_delete(struct pt_regs *ctx)
{
	runs(RAN_HOOK_DELETE);
	return begin_registration(DELETED, 0, 0, PT_REGS_PARM2(ctx));
}

/* static struct nf_hook_entries *nf_hook_entries_grow(const struct nf_hook_entries *old, const struct nf_hook_ops *reg) */
int probe_hook_grow(struct pt_regs *ctx)
{
	u64 task = bpf_get_current_task();
	struct registration *under = registrations.lookup(&task);

	runs(RAN_HOOK_GROW);
	if (!under)
		return 0;
	under->before = PT_REGS_PARM1(ctx);
	under->slots_before = tell_array(under->before, under->number, 0, bpf_ktime_get_ns());
	return 0;
}

#define MAX_ERRNO 4095

int probe_hook_grown(struct pt_regs *ctx)
{
	u64 task = bpf_get_current_task(), array = PT_REGS_RC(ctx);
	struct registration *under = registrations.lookup(&task);

	runs(RAN_HOOK_GROWN);
	if (!under || array >= -(u64)MAX_ERRNO)
		return 0;
	under->after = array;
	under->time = bpf_ktime_get_ns();
	under->slots_after = tell_array(array, under->number, 1, under->time);
	return 0;
}

/* What has been registered, or was not: all of it is done, the static key is up. */
int probe_hook_registered(struct pt_regs *ctx)
{
	u64 task = bpf_get_current_task();
	struct registration *under = registrations.lookup(&task);

	runs(RAN_HOOK_REGISTERED);
	if (!under)
		return 0;
	tell_registration(ctx, under, PT_REGS_RC(ctx));
	registrations.delete(&task);
	return 0;
}

/* static void *__nf_hook_entries_try_shrink(struct nf_hook_entries *old, struct nf_hook_entries __rcu **pp) */
int probe_hook_shrink(struct pt_regs *ctx)
{
	u64 task = bpf_get_current_task();
	struct registration *under = registrations.lookup(&task);

	runs(RAN_HOOK_SHRINK);
	if (!under)
		return 0;
	under->before = PT_REGS_PARM1(ctx);
	under->at = PT_REGS_PARM2(ctx);
	under->time = bpf_ktime_get_ns();
	under->slots_before = tell_array(under->before, under->number, 0, under->time);
	return 0;
}

/* The key is down already, the lock is still held. */
int probe_hook_shrunk(struct pt_regs *ctx)
{
	u64 task = bpf_get_current_task();
	struct registration *under = registrations.lookup(&task);

	runs(RAN_HOOK_SHRUNK);
	if (!under)
		return 0;
	FETCH(under->after, under->at);
	under->slots_after = tell_array(under->after, under->number, 1, under->time);
	tell_registration(ctx, under, 0);
	registrations.delete(&task);
	return 0;
}
