// SPDX-License-Identifier: GPL-2.0-only
/* Private arrays, where no packet comes: core's raw functions. */
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/netlink.h>

#include "internal.h"

const struct nla_policy nfh_raw_insert_policy[NFHARNESS_A_RAW_VERDICT + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_PRIORITY] = { .type = NLA_S32 },
	[NFHARNESS_A_COOKIE] = { .type = NLA_U64 },
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
	[NFHARNESS_A_RAW_VERDICT] = { .type = NLA_U32 },
};

const struct nla_policy nfh_raw_delete_policy[NFHARNESS_A_ARRAY + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_ARRAY] = { .type = NLA_U32 },
};

const struct nla_policy nfh_raw_alter_policy[NFHARNESS_A_PRIORITY + 1] = {
	[NFHARNESS_A_ID] = NLA_POLICY_MIN(NLA_U64, 1),
	[NFHARNESS_A_PRIORITY] = { .type = NLA_S32 },
};

struct nfh_array *nfh_array_find(struct nfh_net *nn, u32 number)
{
	struct nfh_array *array;

	lockdep_assert_held(&nn->lock);
	list_for_each_entry(array, &nn->arrays, node)
		if (array->number == number)
			return array;
	return NULL;
}

struct nfh_array *nfh_array_of_request(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_array *array;

	if (!info->attrs[NFHARNESS_A_ARRAY]) {
		NL_SET_ERR_MSG(info->extack, "attribute ARRAY is missing");
		return ERR_PTR(-EINVAL);
	}
	array = nfh_array_find(nn, nla_get_u32(info->attrs[NFHARNESS_A_ARRAY]));
	if (!array) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[NFHARNESS_A_ARRAY],
				    "the private array is empty: core would dereference NULL");
		return ERR_PTR(-ENOENT);
	}
	return array;
}

static struct nfh_hook *nfh_array_find_hook(struct nfh_net *nn, u64 id)
{
	struct nfh_array *array;
	struct nfh_hook *hook;

	list_for_each_entry(array, &nn->arrays, node)
		list_for_each_entry(hook, &array->hooks, node)
			if (hook->id == id)
				return hook;
	return NULL;
}

static void nfh_array_free_if_empty(struct nfh_array *array)
{
	if (!list_empty(&array->hooks))
		return;
	WARN_ON_ONCE(rcu_access_pointer(array->head));
	list_del(&array->node);
	kfree(array);
}

static void nfh_array_delete(struct nfh_net *nn, struct nfh_hook *hook)
{
	nfh_fault_begin(nn);
	nf_hook_entries_delete_raw(&hook->array->head, hook->ops);
	nfh_fault_end(nn);
	list_del(&hook->node);
	nfh_array_free_if_empty(hook->array);
	kfree_rcu(hook, rcu);
}

void nfh_array_flush(struct nfh_net *nn)
{
	struct nfh_array *array, *next_array;
	struct nfh_hook *hook, *next;

	mutex_lock(&nn->lock);
	list_for_each_entry_safe(array, next_array, &nn->arrays, node) {
		/* Core shall not warn of what was altered. */
		list_for_each_entry(hook, &array->hooks, node)
			WRITE_ONCE(hook->ops->priority, 0);
		/* The last one takes the array along. */
		list_for_each_entry_safe(hook, next, &array->hooks, node) {
			bool last = list_is_singular(&array->hooks);

			nfh_array_delete(nn, hook);
			if (last)
				break;
		}
	}
	mutex_unlock(&nn->lock);
}

static int nfh_array_insert(struct nfh_net *nn, struct nfh_hook *hook, u32 number,
			    struct netlink_ext_ack *extack)
{
	struct nfh_array *array;
	int err;

	lockdep_assert_held(&nn->lock);
	if (nfh_hook_find(nn, hook->id) || nfh_array_find_hook(nn, hook->id)) {
		NL_SET_ERR_MSG(extack, "the namespace has a hook with this ID already");
		return -EEXIST;
	}
	array = nfh_array_find(nn, number);
	if (!array) {
		array = kzalloc(sizeof(*array), GFP_KERNEL_ACCOUNT);
		if (!array)
			return -ENOMEM;
		array->number = number;
		INIT_LIST_HEAD(&array->hooks);
		list_add_tail(&array->node, &nn->arrays);
	}
	hook->array = array;
	nfh_fault_begin(nn);
	err = nf_hook_entries_insert_raw(&array->head, hook->ops);
	nfh_fault_end(nn);
	if (err) {
		NL_SET_ERR_MSG(extack, "nf_hook_entries_insert_raw refused the hook");
		nfh_array_free_if_empty(array);
		return err;
	}
	list_add_tail(&hook->node, &array->hooks);
	return 0;
}

/* A listener may take an NF_QUEUE's packet, and older kernels warn when it comes
 * back; newer ones warn of a verdict that they do not know.
 */
static bool nfh_raw_may_warn(u32 verdict)
{
	switch (verdict & NF_VERDICT_MASK) {
	case NF_ACCEPT:
	case NF_DROP:
	case NF_STOLEN:
		return false;
	}
	return true;
}

int nfh_raw_insert_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	struct nlattr **tb = info->attrs;
	struct nfh_hook *hook;
	int err;

	if (!tb[NFHARNESS_A_ID] || !tb[NFHARNESS_A_ARRAY] || !tb[NFHARNESS_A_PRIORITY] ||
	    !tb[NFHARNESS_A_RAW_VERDICT]) {
		NL_SET_ERR_MSG(info->extack, "needs ID, ARRAY, PRIORITY and RAW_VERDICT");
		return -EINVAL;
	}
	if (nfh_raw_may_warn(nla_get_u32(tb[NFHARNESS_A_RAW_VERDICT]))) {
		err = nfh_needs_root(skb, info->extack);
		if (err)
			return err;
	}
	hook = kzalloc(sizeof(*hook), GFP_KERNEL_ACCOUNT);
	if (!hook)
		return -ENOMEM;
	hook->id = nla_get_u64(tb[NFHARNESS_A_ID]);
	hook->verdict = nla_get_u32(tb[NFHARNESS_A_RAW_VERDICT]);
	if (tb[NFHARNESS_A_COOKIE]) {
		hook->has_cookie = true;
		hook->cookie = nla_get_u64(tb[NFHARNESS_A_COOKIE]);
	}
	hook->ops = &hook->own_ops;
	hook->ops->hook = nfharness_hook;
	hook->ops->priv = hook;
	hook->ops->pf = NFPROTO_IPV4;
	hook->ops->hooknum = NF_INET_LOCAL_IN;
	hook->ops->priority = nla_get_s32(tb[NFHARNESS_A_PRIORITY]);

	mutex_lock(&nn->lock);
	err = nfh_array_insert(nn, hook, nla_get_u32(tb[NFHARNESS_A_ARRAY]), info->extack);
	mutex_unlock(&nn->lock);
	if (err)
		kfree(hook);
	return err;
}

static struct nfh_hook *nfh_raw_hook_of_request(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_hook *hook;

	if (!info->attrs[NFHARNESS_A_ID]) {
		NL_SET_ERR_MSG(info->extack, "attribute ID is missing");
		return ERR_PTR(-EINVAL);
	}
	hook = nfh_array_find_hook(nn, nla_get_u64(info->attrs[NFHARNESS_A_ID]));
	if (!hook) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[NFHARNESS_A_ID],
				    "no private array of the namespace has a hook with this ID");
		return ERR_PTR(-ENOENT);
	}
	return hook;
}

static int nfh_raw_delete(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_array *array;
	struct nfh_hook *hook;

	hook = nfh_raw_hook_of_request(nn, info);
	if (IS_ERR(hook))
		return PTR_ERR(hook);
	if (!info->attrs[NFHARNESS_A_ARRAY]) {
		nfh_array_delete(nn, hook);
		return 0;
	}
	array = nfh_array_of_request(nn, info);
	if (IS_ERR(array))
		return PTR_ERR(array);
	if (array == hook->array)
		nfh_array_delete(nn, hook);
	else
		nf_hook_entries_delete_raw(&array->head, hook->ops);
	return 0;
}

int nfh_raw_delete_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	int err;

	mutex_lock(&nn->lock);
	err = nfh_raw_delete(nn, info);
	mutex_unlock(&nn->lock);
	return err;
}

static struct nfh_hook *nfh_altered_hook_of_request(struct nfh_net *nn, struct genl_info *info)
{
	struct nfh_hook *hook = NULL;

	if (info->attrs[NFHARNESS_A_ID])
		hook = nfh_hook_find(nn, nla_get_u64(info->attrs[NFHARNESS_A_ID]));
	/* An unknown one is refused there. */
	return hook ?: nfh_raw_hook_of_request(nn, info);
}

/* Nobody but core, under the lock, and a dump look at the priority: no packet does. */
int nfh_raw_alter_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct nfh_net *nn = nfh_net(genl_info_net(info));
	struct nfh_hook *hook;
	int err;

	err = nfh_needs_root(skb, info->extack);
	if (err)
		return err;
	if (!info->attrs[NFHARNESS_A_PRIORITY]) {
		NL_SET_ERR_MSG(info->extack, "attribute PRIORITY is missing");
		return -EINVAL;
	}
	mutex_lock(&nn->lock);
	hook = nfh_altered_hook_of_request(nn, info);
	if (!IS_ERR(hook))
		WRITE_ONCE(hook->ops->priority, nla_get_s32(info->attrs[NFHARNESS_A_PRIORITY]));
	mutex_unlock(&nn->lock);
	return PTR_ERR_OR_ZERO(hook);
}
