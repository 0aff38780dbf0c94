// SPDX-License-Identifier: GPL-2.0-only
/* Slots: a hook point's live array, as core walks it. */
#include <linux/kallsyms.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "internal.h"

/**
 * struct nfh_slot - what one element of struct nf_hook_entries said
 *
 * @function: hook function
 * @priority: of the slot's ops
 * @id: of the &struct nfh_hook in it, 0 for another's
 */
struct nfh_slot {
	nf_hookfn *function;
	int priority;
	u64 id;
};

/**
 * struct nfh_slots - a copy of a hook point's array, kept while a dump goes on
 *
 * @private: the array is the private one of that @number, not @point's
 * @number: see @private
 * @point: the hook point
 * @addresses: the reader may know the functions' addresses
 * @next: the slot that the dump comes to next
 * @count: length of @slot
 * @slot: in the array's order
 */
struct nfh_slots {
	bool private;
	u32 number;
	struct nfh_point point;
	bool addresses;
	u32 next;
	u32 count;
	struct nfh_slot slot[];
};

const struct nla_policy nfh_slots_policy[NFHARNESS_A_MAX + 1] = {
	[NFHARNESS_A_PF] = { .type = NLA_U8 },
	[NFHARNESS_A_HOOKNUM] = { .type = NLA_U32 },
	[NFHARNESS_A_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
};

static struct nf_hook_entries __rcu **nfh_slots_head(struct net *net, const struct nfh_slots *slots,
						     struct netlink_ext_ack *extack)
{
	struct nf_hook_entries __rcu **head;
	struct net_device *dev = NULL;

	if (nfh_point_has_device(&slots->point)) {
		dev = dev_get_by_index_rcu(net, slots->point.ifindex);
		if (!dev) {
			NL_SET_ERR_MSG(extack, "the namespace has no device of that IFINDEX");
			return ERR_PTR(-ENODEV);
		}
	}
	head = nfh_point_head(net, dev, &slots->point);
	if (!head) {
		NL_SET_ERR_MSG(extack, "INET has no array of its own: ask for IPV4 and IPV6");
		return ERR_PTR(-EINVAL);
	}
	return head;
}

/* Copy the array, if it has @room or fewer slots; return how many it has. */
static int nfh_slots_copy(struct net *net, struct nfh_slots *slots, u32 room,
			  struct netlink_ext_ack *extack)
{
	const struct nf_hook_entries *array;
	struct nf_hook_ops **ops;
	u32 i;

	if (slots->private) {
		struct nfh_array *private = nfh_array_find(nfh_net(net), slots->number);

		array = private ? rcu_dereference(private->head) : NULL;
	} else {
		struct nf_hook_entries __rcu **head = nfh_slots_head(net, slots, extack);

		if (IS_ERR(head))
			return PTR_ERR(head);
		array = rcu_dereference(*head);
	}
	if (!array)
		return 0;
	if (array->num_hook_entries > room)
		return array->num_hook_entries;

	ops = nf_hook_entries_get_hook_ops(array);
	for (i = 0; i < array->num_hook_entries; i++) {
		struct nfh_slot *slot = &slots->slot[i];
		const struct nfh_hook *hook;

		/* A shrink that fails puts accept_all and dummy_ops in place. */
		slot->function = READ_ONCE(array->hooks[i].hook);
		slot->priority = READ_ONCE(ops[i])->priority;
		if (slot->function == nfharness_hook) {
			hook = array->hooks[i].priv;
			slot->id = hook->id;
		}
	}
	return slots->count = array->num_hook_entries;
}

static struct nfh_slots *nfh_slots_read(struct net *net, const struct nfh_slots *what,
					struct netlink_ext_ack *extack)
{
	struct nfh_net *nn = nfh_net(net);
	struct nfh_slots *slots;
	u32 room = 0;
	int len;

	for (;;) {
		slots = kvzalloc(struct_size(slots, slot, room), GFP_KERNEL_ACCOUNT);
		if (!slots)
			return ERR_PTR(-ENOMEM);
		slots->private = what->private;
		slots->number = what->number;
		slots->point = what->point;

		mutex_lock(&nn->lock);
		rcu_read_lock();
		len = nfh_slots_copy(net, slots, room, extack);
		rcu_read_unlock();
		mutex_unlock(&nn->lock);
		if (len >= 0 && len <= room)
			return slots;

		kvfree(slots);
		if (len < 0)
			return ERR_PTR(len);
		room = len;
	}
}

/* Not an op's .start: on 5.10 that one has no cb->extack. */
static int nfh_slots_start(struct netlink_callback *cb)
{
	struct nlattr *tb[NFHARNESS_A_MAX + 1];
	struct nfh_slots what = {}, *slots;
	int err;

	err = genlmsg_parse(cb->nlh, &nfh_family, tb, NFHARNESS_A_MAX, nfh_slots_policy,
			    cb->extack);
	if (err)
		return err;
	if (tb[NFHARNESS_A_ARRAY]) {
		what.private = true;
		what.number = nla_get_u32(tb[NFHARNESS_A_ARRAY]);
	} else {
		err = nfh_point_parse(tb, &what.point, cb->extack);
		if (err)
			return err;
	}
	slots = nfh_slots_read(sock_net(cb->skb->sk), &what, cb->extack);
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

	if (slots->private ? nla_put_u32(msg, NFHARNESS_A_ARRAY, slots->number)
			   : nfh_point_put(msg, &slots->point))
		return -EMSGSIZE;
	if (nla_put_u32(msg, NFHARNESS_A_SLOT_INDEX, index) ||
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
	return msg->len;
}

int nfh_slots_done(struct netlink_callback *cb)
{
	kvfree((void *)cb->args[0]);
	return 0;
}
