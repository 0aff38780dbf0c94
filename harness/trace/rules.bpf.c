/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which rule of nftables' decided. nft_do_chain() evaluates the expressions of rules: some where it stands, some by a direct call where
 * indirect ones are slow, all others by its one indirect call, with (expr, regs, pkt). What gives a verdict is evaluated last.
 *
 * An immediate verdict is read where nft_immediate_eval() begins, that of a map where nft_lookup_eval() returns. Behind the indirect call
 * nothing can be probed for itself, as the function comes there after every expression: of what else is called the address is kept, and
 * the reader knows which functions always decide. The rule is in a register that calls leave alone: a register counts as the rule if what
 * it points to is the header of a rule whose expressions include the one evaluated.
 *
 * tracer.py makes the programs.
 */

/* enum nft_verdicts */
#define NFT_CONTINUE 0xffffffff
#define NFT_BREAK 0xfffffffe
#define NFT_JUMP 0xfffffffd
#define NFT_GOTO 0xfffffffc

/* struct nft_immediate_expr, behind the pointer to the operations: data, of which the verdict's code is the first word, and dreg. */
#define IMMEDIATE_CODE 8
#define IMMEDIATE_DREG 24

#define HANDLE_BITS 42
#define RULE_MAX 4096

struct evaluation {
	u64 expr, regs, skb;
};

BPF_TABLE("hash", u64, struct evaluation, evaluations, 4096);	/* by the stack pointer */
BPF_TABLE("hash", u64, struct decision, decisions, 4096);	/* by the skb */
BPF_TABLE("hash", u64, struct decision, outer_decisions, 4096);	/* by the inner run's stack address */

/*
 * The handle of the rule at an address, if an expression is one of the rule's; 0 if it is not.
 * struct nft_rule_dp is a word of is_last:1, dlen:12, handle:42 and then the expressions; before it struct nft_rule had a list's pointers
 * and a word of handle:42, genmask:2, dlen:12, udata:1.
 */
static __always_inline u64 handle_of(u64 rule, u64 expr)
{
	u64 word = 0, data = rule + (RULE_BLOBS ? 8 : 24), handle, size;

	if (expr < data || expr - data >= RULE_MAX || FETCH(word, RULE_BLOBS ? rule : rule + 16))
		return 0;
	if (RULE_BLOBS) {
		if (word & 1)
			return 0;
		size = word >> 1 & 0xfff;
		handle = word >> 13 & ((1ULL << HANDLE_BITS) - 1);
	} else {
		size = word >> (HANDLE_BITS + 2) & 0xfff;
		handle = word & ((1ULL << HANDLE_BITS) - 1);
	}
	/* What looks like a handle of half the range is part of an address. */
	return expr - data < size && !(handle >> (HANDLE_BITS - 1)) ? handle : 0;
}

static __always_inline u64 rule_of(struct pt_regs *ctx, u64 expr)
{
	u64 handle;

	if ((handle = handle_of(ctx->r14, expr)) || (handle = handle_of(ctx->bx, expr)) || (handle = handle_of(ctx->r12, expr)) ||
	    (handle = handle_of(ctx->r13, expr)) || (handle = handle_of(ctx->bp, expr)))
		return handle;
	return handle_of(ctx->r15, expr);
}

static __always_inline struct decision *decision_of(u64 skb)
{
	struct decision fresh = {}, *decision = decisions.lookup(&skb);

	if (decision)
		return decision;
	decisions.update(&skb, &fresh);
	return decisions.lookup(&skb);
}

/* An expression has been evaluated, to this verdict if it is one at all. */
static __always_inline int evaluated(struct pt_regs *ctx, u64 skb, u64 expr, u32 code)
{
	struct decision *decision = decision_of(skb);

	if (!decision)
		return 0;
	decision->function = 0;
	decision->code = code == NFT_BREAK ? NFT_CONTINUE : code;
	if (decision->code == NFT_CONTINUE)
		return 0;
	decision->handle = rule_of(ctx, expr);
	if (code == NFT_JUMP || code == NFT_GOTO) {
		if (decision->jumps < JUMPS)
			decision->via[decision->jumps & (JUMPS - 1)] = decision->handle;
		decision->jumps++;
	}
	return 0;
}

/* void nft_immediate_eval(const struct nft_expr *expr, struct nft_regs *regs, const struct nft_pktinfo *pkt) */
static __always_inline int rule_immediate(struct pt_regs *ctx)
{
	u64 expr = PT_REGS_PARM1(ctx), skb = 0;
	u32 code = NFT_CONTINUE;
	u8 dreg = 0;

	if (setting(PHASE) == OFF)
		return 0;
	FETCH(skb, PT_REGS_PARM3(ctx));
	FETCH(dreg, expr + IMMEDIATE_DREG);
	if (!dreg)
		FETCH(code, expr + IMMEDIATE_CODE);
	return evaluated(ctx, skb, expr, code);
}

/* void nft_lookup_eval(const struct nft_expr *expr, struct nft_regs *regs, const struct nft_pktinfo *pkt) */
static __always_inline int rule_begin(struct pt_regs *ctx)
{
	struct evaluation evaluation = { .expr = PT_REGS_PARM1(ctx), .regs = PT_REGS_PARM2(ctx) };
	u64 key = PT_REGS_SP(ctx);

	if (setting(PHASE) == OFF)
		return 0;
	FETCH(evaluation.skb, PT_REGS_PARM3(ctx));
	evaluations.update(&key, &evaluation);
	return 0;
}

static __always_inline int rule_verdict(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), skb, expr;
	struct evaluation *evaluation = evaluations.lookup(&key);
	u32 code = NFT_CONTINUE;

	if (!evaluation)
		return 0;
	skb = evaluation->skb;
	expr = evaluation->expr;
	FETCH(code, evaluation->regs);
	evaluations.delete(&key);
	return evaluated(ctx, skb, expr, code);
}

static __always_inline int rule_other(struct pt_regs *ctx)
{
	u64 skb = 0, expr = PT_REGS_PARM1(ctx), ops = 0;
	struct decision *decision;

	if (setting(PHASE) == OFF)
		return 0;
	FETCH(skb, PT_REGS_PARM3(ctx));
	decision = decision_of(skb);
	if (!decision)
		return 0;
	FETCH(ops, expr);
	FETCH(decision->function, ops);
	decision->handle = rule_of(ctx, expr);
	return 0;
}

/*
 * A run of a loop begins, perhaps inside an expression for the same skb: "fwd to" a device with a hook at egress. What the outer chain
 * evaluated last stays what decided there.
 */
static __always_inline void set_aside(u64 key, struct frame *frame, u64 skb)
{
	struct decision *decision = HAS_RULES ? decisions.lookup(&skb) : 0;

	if (!decision)
		return;
	frame->inner = !outer_decisions.update(&key, decision);
	decisions.delete(&skb);
}

static __always_inline void put_back(u64 key, struct frame *frame)
{
	struct decision *decision;

	if (!frame->inner)
		return;
	decision = outer_decisions.lookup(&key);
	if (decision)
		decisions.update(&frame->skb, decision);
	outer_decisions.delete(&key);
}

/* What was evaluated last for the base chain that has just returned. */
static __always_inline void decided(struct chain_event *event, u64 skb)
{
	struct decision *decision = HAS_RULES ? decisions.lookup(&skb) : 0;

	if (decision) {
		event->decision = *decision;
		decisions.delete(&skb);
	} else {
		/* Where rules are not seen: a verdict of no rule, which tells the reader nothing. */
		__builtin_memset(&event->decision, 0, sizeof(event->decision));
		event->decision.code = HAS_RULES ? NFT_CONTINUE : 0;
	}
}
