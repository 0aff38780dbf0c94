// SPDX-License-Identifier: GPL-2.0-only
/* Slots: live arrays, as core walks them. */
#include <linux/kallsyms.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "internal.h"

/**
 * struct nfh_which - which array
 *
 * @private: the private one of that @number, not @point's
 * @number: see @private
 * @point: the hook point
 */
struct nfh_which {
	bool private;
	u32 number;
	struct nfh_point point;
};

/**
 * struct nfh_slot - what one element of struct nf_hook_entries said
 *
 * @which: its array
 * @index: its place there
 * @function: hook function
 * @priority: of the slot's ops
 * @id: of the &struct nfh_hook in it, 0 for another's
 */
struct nfh_slot {
	struct nfh_which which;
	u32 index;
	nf_hookfn *function;
	int priority;
	u64 id;
};

/**
 * struct nfh_slots - a copy of arrays, kept while a dump goes on
 *
 * @addresses: the reader may know the functions' addresses
 * @next: the slot that the dump comes to next
 * @count: slots that there are, also if there are more than @room
 * @room: length of @slot
 * @slot: in each array's order
 */
struct nfh_slots {
	bool addresses;
	u32 next;
	u32 count;
	u32 room;
	struct nfh_slot slot[];
};

const struct nla_policy nfh_slots_policy[NFHARNESS_A_MAX + 1] = {
	[NFHARNESS_A_PF] = { .type = NLA_U8 },
	[NFHARNESS_A_HOOKNUM] = { .type = NLA_U32 },
	[NFHARNESS_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
};

static struct nf_hook_entries __rcu **nfh_slots_head(struct net *net, const struct nfh_point *point,
						     struct netlink_ext_ack *extack)
{
	struct nf_hook_entries __rcu **head;
	struct net_device *dev = NULL;

	if (nfh_point_has_device(point)) {
		dev = dev_get_by_index_rcu(net, point->ifindex);
		if (!dev) {
			NL_SET_ERR_MSG(extack, "the namespace has no device of that IFINDEX");
			return ERR_PTR(-ENODEV);
		}
	}
	head = nfh_point_head(net, dev, point);
	if (!head) {
		NL_SET_ERR_MSG(extack, "INET has no array: ask for IPV4 and IPV6");
		return ERR_PTR(-EINVAL);
	}
	return head;
}

static void nfh_slots_add(struct nfh_slots *slots, const struct nfh_which *which,
			  const struct nf_hook_entries *array)
{
	struct nf_hook_ops **ops;
	u32 i;

	if (!array)
		return;
	ops = nf_hook_entries_get_hook_ops(array);
	for (i = 0; i < array->num_hook_entries; i++, slots->count++) {
		const struct nfh_hook *hook = array->hooks[i].priv;
		struct nfh_slot *slot;

		if (slots->count >= slots->room)
			continue;
		slot = &slots->slot[slots->count];
		slot->which = *which;
		slot->index = i;
		/* A shrink that fails puts accept_all and dummy_ops in place. */
		slot->function = READ_ONCE(array->hooks[i].hook);
		slot->priority = READ_ONCE(ops[i])->priority;
		slot->id = slot->function == nfharness_hook ? hook->id : 0;
	}
}

static void nfh_slots_add_family(struct nfh_slots *slots, struct net *net, struct net_device *dev,
				 u8 pf)
{
	struct nfh_which which = { .point.pf = pf, .point.ifindex = dev ? dev->ifindex : 0 };
	u32 *hooknum = &which.point.hooknum;

	for (*hooknum = 0; *hooknum < nfh_point_limit(pf); (*hooknum)++)
		nfh_slots_add(slots, &which,
			      rcu_dereference(*nfh_point_head(net, dev, &which.point)));
}

/* Everything that hangs in the namespace. */
static void nfh_slots_add_all(struct nfh_slots *slots, struct net *net)
{
	static const u8 families[] = { NFPROTO_IPV4, NFPROTO_ARP, NFPROTO_BRIDGE, NFPROTO_IPV6 };
	struct nfh_which which = { .private = true };
	struct nfh_array *array;
	struct net_device *dev;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(families); i++)
		nfh_slots_add_family(slots, net, NULL, families[i]);
	for_each_netdev_rcu(net, dev)
		nfh_slots_add_family(slots, net, dev, NFPROTO_NETDEV);
	list_for_each_entry(array, &nfh_net(net)->arrays, node) {
		which.number = array->number;
		nfh_slots_add(slots, &which, rcu_dereference(array->head));
	}
}

/* Copy as many slots as there is room for; count all. @which: NULL for everything. */
static int nfh_slots_copy(struct nfh_slots *slots, struct net *net, const struct nfh_which *which,
			  struct netlink_ext_ack *extack)
{
	struct nf_hook_entries __rcu **head = NULL;
	struct nfh_array *private;

	if (!which) {
		nfh_slots_add_all(slots, net);
		return 0;
	}
	if (which->private) {
		private = nfh_array_find(nfh_net(net), which->number);
		head = private ? &private->head : NULL;
	} else {
		head = nfh_slots_head(net, &which->point, extack);
		if (IS_ERR(head))
			return PTR_ERR(head);
	}
	if (head)
		nfh_slots_add(slots, which, rcu_dereference(*head));
	return 0;
}

static struct nfh_slots *nfh_slots_read(struct net *net, const struct nfh_which *which,
					struct netlink_ext_ack *extack)
{
	struct nfh_net *nn = nfh_net(net);
	struct nfh_slots *slots;
	u32 room = 16;
	int err;

	for (;;) {
		slots = kvzalloc(struct_size(slots, slot, room), GFP_KERNEL_ACCOUNT);
		if (!slots)
			return ERR_PTR(-ENOMEM);
		slots->room = room;

		mutex_lock(&nn->lock);
		rcu_read_lock();
		err = nfh_slots_copy(slots, net, which, extack);
		rcu_read_unlock();
		mutex_unlock(&nn->lock);
		if (!err && slots->count <= room)
			return slots;

		room = slots->count;
		kvfree(slots);
		if (err)
			return ERR_PTR(err);
	}
}

/* Not an op's .start: on 5.10 that one has no cb->extack. */
static int nfh_slots_start(struct netlink_callback *cb)
{
	struct nlattr *tb[NFHARNESS_A_MAX + 1];
	struct nfh_which which = {};
	struct nfh_slots *slots;
	bool all;
	int err;

	err = genlmsg_parse(cb->nlh, &nfh_family, tb, NFHARNESS_A_MAX, nfh_slots_policy,
			    cb->extack);
	if (err)
		return err;
	all = !genlmsg_len(nlmsg_data(cb->nlh));
	if (tb[NFHARNESS_A_ARRAY]) {
		which.private = true;
		which.number = nla_get_u32(tb[NFHARNESS_A_ARRAY]);
	} else if (!all) {
		err = nfh_point_parse(tb, &which.point, cb->extack);
		if (err)
			return err;
	}
	slots = nfh_slots_read(sock_net(cb->skb->sk), all ? NULL : &which, cb->extack);
	if (IS_ERR(slots))
		return PTR_ERR(slots);
	slots->addresses = netlink_capable(cb->skb, CAP_SYSLOG);
	cb->args[0] = (long)slots;
	return 0;
}

/* %ps, "function" or "function [module]", is all that modules get of kallsyms. */
static int nfh_slot_put_function(struct sk_buff *msg, const struct nfh_slot *slot)
{
	char symbol[KSYM_SYMBOL_LEN];
	char *module, *end;

	snprintf(symbol, sizeof(symbol), "%ps", (void *)slot->function);
	module = strstr(symbol, " [");
	if (module) {
		*module = '\0';
		module += 2;
		end = strchr(module, ']');
		if (end)
			*end = '\0';
		if (nla_put_string(msg, NFHARNESS_A_SLOT_MODULE, module))
			return -EMSGSIZE;
	} else if (slot->priority == INT_MIN && !strcmp(symbol, "accept_all") &&
		   nla_put_flag(msg, NFHARNESS_A_SLOT_DUMMY)) {
		return -EMSGSIZE;
	}
	return nla_put_string(msg, NFHARNESS_A_SLOT_FUNCTION, symbol);
}

static int nfh_slot_put(struct sk_buff *msg, const struct nfh_slots *slots, u32 index)
{
	const struct nfh_slot *slot = &slots->slot[index];

	if (slot->which.private ? nla_put_u32(msg, NFHARNESS_A_ARRAY, slot->which.number)
				: nfh_point_put(msg, &slot->which.point))
		return -EMSGSIZE;
	if (nla_put_u32(msg, NFHARNESS_A_SLOT_INDEX, slot->index) ||
	    nla_put_s32(msg, NFHARNESS_A_PRIORITY, slot->priority) ||
	    nfh_slot_put_function(msg, slot))
		return -EMSGSIZE;
	if (slots->addresses && nla_put_u64_64bit(msg, NFHARNESS_A_SLOT_ADDRESS,
						  (unsigned long)slot->function, NFHARNESS_A_PAD))
		return -EMSGSIZE;
	if (slot->id && nla_put_u64_64bit(msg, NFHARNESS_A_ID, slot->id, NFHARNESS_A_PAD))
		return -EMSGSIZE;
	return 0;
}

int nfh_slots_dump(struct sk_buff *msg, struct netlink_callback *cb)
{
	struct nfh_slots *slots;
	void *hdr;
	int err;

	if (!cb->args[0]) {
		err = nfh_slots_start(cb);
		if (err)
			return err;
	}
	slots = (struct nfh_slots *)cb->args[0];

	for (; slots->next < slots->count; slots->next++) {
		hdr = genlmsg_put(msg, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &nfh_family,
				  NLM_F_MULTI, NFHARNESS_CMD_SLOT_GET);
		if (!hdr)
			break;
		if (nfh_slot_put(msg, slots, slots->next)) {
			genlmsg_cancel(msg, hdr);
			break;
		}
		genlmsg_end(msg, hdr);
	}
	/* With 0 the end comes in the same message, and takes no further system call. */
	return slots->next < slots->count ? msg->len : 0;
}

int nfh_slots_done(struct netlink_callback *cb)
{
	kvfree((void *)cb->args[0]);
	return 0;
}
