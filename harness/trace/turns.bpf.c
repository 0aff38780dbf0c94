/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What becomes of skbs between hook points: where they go, what is made of them, who takes them, and what they are answered with.
 *
 * turns.py finds the places.
 */

/* turn_event.what */
#define LOCAL 1
#define XMIT 2
#define ANSWERED 3
#define SEGMENTED 4
#define REASSEMBLED 5
#define TAKEN 6
#define MERGED 7
#define DUPLICATED 8
#define LINGERED 9
#define SYNACKED 10
#define FRAGMENTED 11
#define REJECTED 12
#define REPLIED 13
#define REFUSED 14
#define USELESS 15
#define HEEDED 16
#define CLONED 17
#define TAPPED 18

/*
 * What an skb comes to between two hook points. @other: the device of XMIT, the answer of ANSWERED and REJECTED, the datagram of MERGED, the
 * copy of DUPLICATED, the clone of CLONED, what was taken of TAKEN, the errno of REFUSED
 */
static __always_inline int tell(u64 skb, u8 what, u64 other)
{
	struct turn_event *event;
	u64 driver = 0;

	event = reserve_turn_event();
	if (!event) {
		lose();
		return 0;
	}
	event->type = EV_TURN;
	event->what = what;
	event->skb = skb;
	event->other = other;
	event->driver = 0;
	event->name[0] = 0;
	if (what == XMIT) {
		FETCH(event->name, other + DEV_NAME);
		FETCH(driver, other + DEV_DRIVER);
		FETCH(event->driver, driver + DRIVER_XMIT);
	}
	event->time = bpf_ktime_get_ns();
	submit(event);
	return 0;
}

static __always_inline int turn(u64 skb, u8 what, u64 other)
{
	return skbs.lookup(&skb) ? tell(skb, what, other) : 0;
}

int probe_net_dev_start_xmit(struct bpf_raw_tracepoint_args *ctx)
{
	return turn(ctx->args[0], XMIT, ctx->args[1]);
}

/*
 * int raw_local_deliver(struct sk_buff *skb, int protocol), bool raw6_local_deliver(struct sk_buff *skb, int nexthdr): what a host has
 * taken for its own comes here before a protocol gets it.
 */
int probe_local(struct pt_regs *ctx)
{
	int only = 0;
	struct books *own = books.lookup(&only);

	runs(RAN_LOCAL);
	if (own) {
		own->local = PT_REGS_PARM1(ctx);
		own->apart = 0;
	}
	return turn(PT_REGS_PARM1(ctx), LOCAL, 0);
}

/* What a socket may take. @whole: what that is of; @apart: a segment is, and the whole has been freed by now */
struct offer {
	u64 skb, whole, apart;
};

BPF_TABLE("hash", u64, struct offer, offered, 1024);	/* by the stack pointer */

/* What an skb is of, of what the host has just taken: itself, a clone of it, or one of the segments that a socket wants it in. */
static __always_inline u64 whole(u64 skb, u64 *apart)
{
	u64 head = 0, whole_head = 0;
	int only = 0;
	struct books *own = books.lookup(&only);

	if (skbs.lookup(&skb))
		return skb;
	if (!own || !own->local)
		return 0;
	*apart = own->apart;
	if (own->apart)
		return own->local;
	FETCH(head, skb + SKB_HEAD);
	FETCH(whole_head, own->local + SKB_HEAD);
	return head == whole_head ? own->local : 0;
}

static __always_inline int asked(struct pt_regs *ctx, u64 skb)
{
	u64 key = PT_REGS_SP(ctx);
	struct offer offer = { skb };

	if (setting(PHASE) == OFF)
		return 0;
	offer.whole = whole(offer.skb, &offer.apart);
	if (offer.whole)
		offered.update(&key, &offer);
	return 0;
}

/*
 * int __sock_queue_rcv_skb(struct sock *sk, struct sk_buff *skb), of raw and ping sockets;
 * int __udp_enqueue_schedule_skb(struct sock *sk, struct sk_buff *skb);
 * enum tcp_tw_status tcp_timewait_state_process(struct inet_timewait_sock *tw, struct sk_buff *skb, ...);
 * int tcp_ack(struct sock *sk, const struct sk_buff *skb, int flag)
 */
int probe_offer(struct pt_regs *ctx)
{
	runs(RAN_OFFER);
	return asked(ctx, PT_REGS_PARM2(ctx));
}

#define ORIGIN_ICMP 2	/* SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6 */
#define ORIGIN_ICMP6 3

/* int sock_queue_err_skb(struct sock *sk, struct sk_buff *skb): the clone of an ICMP error, unless skb tells of a timestamp or of a buffer. */
int probe_complaint(struct pt_regs *ctx)
{
	u64 skb = PT_REGS_PARM2(ctx);
	u8 origin = 0;

	runs(RAN_COMPLAINT);
	FETCH(origin, skb + SKB_CB + ERROR_ORIGIN);
	return origin == ORIGIN_ICMP || origin == ORIGIN_ICMP6 ? asked(ctx, skb) : 0;
}

/* int tcp_v4_err(struct sk_buff *skb, u32 info), and its like of UDP and IPv6: skb is an ICMP error. */
int probe_error(struct pt_regs *ctx)
{
	runs(RAN_ERROR);
	return asked(ctx, PT_REGS_PARM1(ctx));
}

static __always_inline int answer(struct pt_regs *ctx, u8 what)
{
	u64 key = PT_REGS_SP(ctx);
	struct offer offer, *found = offered.lookup(&key);

	if (!found)
		return 0;
	offer = *found;
	offered.delete(&key);
	if (!what)
		return 0;
	return offer.apart ? tell(offer.whole, what, offer.skb) : turn(offer.whole, what, offer.skb);
}

/* 0: it is in the socket's queue, of what it receives or of errors. */
int probe_take(struct pt_regs *ctx)
{
	runs(RAN_TAKE);
	return answer(ctx, (u32)PT_REGS_RC(ctx) ? 0 : TAKEN);
}

#define TCP_TW_SUCCESS 0
#define TCP_TW_ACK 2

/* A connection in TIME-WAIT has seen it, and neither answers with a reset nor finds it outside of its window (TCP_TW_ACK_OOW, 6.14). */
int probe_linger(struct pt_regs *ctx)
{
	u32 status = PT_REGS_RC(ctx);

	runs(RAN_LINGER);
	return answer(ctx, status == TCP_TW_SUCCESS || status == TCP_TW_ACK ? LINGERED : 0);
}

/* 0: there is a socket that it is about. */
int probe_heed(struct pt_regs *ctx)
{
	runs(RAN_HEED);
	return answer(ctx, (u32)PT_REGS_RC(ctx) ? 0 : HEEDED);
}

/* Negative: of no use. */
int probe_useless(struct pt_regs *ctx)
{
	runs(RAN_USELESS);
	return answer(ctx, (s32)PT_REGS_RC(ctx) < 0 ? USELESS : 0);
}

BPF_TABLE("hash", u64, u64, again, 1024);	/* by the request: the segment that is being looked at for it */
BPF_TABLE("hash", u64, u64, requests, 1024);	/* by the stack pointer */

/*
 * struct sock *tcp_check_req(struct sock *sk, struct sk_buff *skb, struct request_sock *req, ...): a SYN that comes again is answered in
 * here (inet_rtx_syn_ack()), where tcp_make_synack() is not told which segment it answers.
 */
int probe_check_begin(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), skb = PT_REGS_PARM2(ctx), request = PT_REGS_PARM3(ctx);

	runs(RAN_CHECK_BEGIN);
	if (setting(PHASE) == OFF || !skbs.lookup(&skb))
		return 0;
	again.update(&request, &skb);
	requests.update(&key, &request);
	return 0;
}

int probe_check_end(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), request;
	u64 *found = requests.lookup(&key);

	runs(RAN_CHECK_END);
	if (!found)
		return 0;
	request = *found;
	again.delete(&request);
	requests.delete(&key);
	return 0;
}

/*
 * struct sk_buff *tcp_make_synack(const struct sock *sk, struct dst_entry *dst, struct request_sock *req, struct tcp_fastopen_cookie *foc,
 *				   enum tcp_synack_type synack_type, struct sk_buff *syn_skb)
 */
int probe_synack(struct pt_regs *ctx)
{
	u64 syn = PT_REGS_PARM6(ctx), request = PT_REGS_PARM3(ctx), *found;

	runs(RAN_SYNACK);
	if (!syn) {
		found = again.lookup(&request);
		syn = found ? *found : 0;
	}
	return turn(syn, SYNACKED, 0);
}

/*
 * int ip_append_data(struct sock *sk, struct flowi4 *fl4, int getfrag(...), void *from, ...): for ICMP from is a struct icmp_bxm, which has
 * the skb that is answered.
 */
int probe_reply(struct pt_regs *ctx)
{
	u64 skb = 0;

	runs(RAN_REPLY);
	if (PT_REGS_PARM3(ctx) != ICMP_GETFRAG)
		return 0;
	FETCH(skb, PT_REGS_PARM4(ctx) + ICMP_SKB);
	return turn(skb, REPLIED, 0);
}

/* int ip6_append_data(struct sock *sk, int getfrag(...), void *from, ...): for ICMPv6 from is a struct icmpv6_msg. */
int probe_reply6(struct pt_regs *ctx)
{
	u64 skb = 0;

	runs(RAN_REPLY6);
	if (PT_REGS_PARM2(ctx) != ICMPV6_GETFRAG)
		return 0;
	FETCH(skb, PT_REGS_PARM3(ctx) + ICMPV6_SKB);
	return turn(skb, REPLIED, 0);
}

BPF_TABLE("hash", u64, u64, queueing, 1024);	/* by the stack pointer */

/* int __nf_queue(struct sk_buff *skb, const struct nf_hook_state *state, ...); where it is nf_queue(), too, skb is the first argument. */
int probe_queue_begin(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), skb = PT_REGS_PARM1(ctx);

	runs(RAN_QUEUE_BEGIN);
	if (setting(PHASE) != OFF)
		queueing.update(&key, &skb);
	return 0;
}

/* Behind its indirect call, of nfqnl_enqueue_packet(): 0, or why the packet is in no queue. */
int probe_queue_asked(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx) + QUEUE_DEPTH, skb;
	s32 status = PT_REGS_RC(ctx);
	u64 *found = queueing.lookup(&key);

	runs(RAN_QUEUE_ASKED);
	if (!found)
		return 0;
	skb = *found;
	queueing.delete(&key);
	return status < 0 ? turn(skb, REFUSED, -status) : 0;
}

/* void nf_ct_attach(struct sk_buff *new, const struct sk_buff *skb): an ICMP error or a reset answers skb. */
int probe_attach(struct pt_regs *ctx)
{
	runs(RAN_ATTACH);
	return turn(PT_REGS_PARM2(ctx), ANSWERED, PT_REGS_PARM1(ctx));
}

/* struct sk_buff *__skb_gso_segment(struct sk_buff *skb, netdev_features_t features, bool tx_path) */
int probe_segment(struct pt_regs *ctx)
{
	u64 skb = PT_REGS_PARM1(ctx);
	int only = 0;
	struct books *own = books.lookup(&only);

	runs(RAN_SEGMENT);
	if (own && own->local == skb)
		own->apart = 1;
	return turn(skb, SEGMENTED, 0);
}

/* int ip_do_fragment(struct net *net, struct sock *sk, struct sk_buff *skb, ...), and ip6_fragment() with the same ones */
int probe_fragment(struct pt_regs *ctx)
{
	runs(RAN_FRAGMENT);
	return turn(PT_REGS_PARM3(ctx), FRAGMENTED, 0);
}

/* void *inet_frag_reasm_prepare(struct inet_frag_queue *q, struct sk_buff *skb, ...): skb came last, and becomes the datagram. */
int probe_reassemble(struct pt_regs *ctx)
{
	runs(RAN_REASSEMBLE);
	return turn(PT_REGS_PARM2(ctx), REASSEMBLED, 0);
}

/*
 * struct sk_buff *skb_morph(struct sk_buff *dst, struct sk_buff *src) releases what dst was, and dst goes on as src, which is freed then.
 * A dst that no verdict loop has seen is followed from here on.
 */
int probe_morph(struct pt_regs *ctx)
{
	u64 skb = PT_REGS_PARM1(ctx), src = PT_REGS_PARM2(ctx);
	u8 *state = skbs.lookup(&skb), morphing = MORPHING;

	runs(RAN_MORPH);
	if (state) {
		*state = MORPHING;
		return 0;
	}
	if (!skbs.lookup(&src))
		return 0;
	if (skbs.update(&skb, &morphing))
		count(N_SKBS_FULL);
	return turn(src, MERGED, skb);
}

BPF_TABLE("hash", u64, u64, copying, 1024);	/* by the stack pointer: what is being copied, or answered */

static __always_inline int remember(struct pt_regs *ctx, u64 skb)
{
	u64 key = PT_REGS_SP(ctx);

	if (setting(PHASE) != OFF && skbs.lookup(&skb))
		copying.update(&key, &skb);
	return 0;
}

/* What remember() was told when the function began that ends now; 0 for nothing. */
static __always_inline u64 remembered(struct pt_regs *ctx)
{
	u64 key = PT_REGS_SP(ctx), skb;
	u64 *found = copying.lookup(&key);

	if (!found)
		return 0;
	skb = *found;
	copying.delete(&key);
	return skb;
}

/* struct sk_buff *__pskb_copy_fclone(struct sk_buff *skb, int headroom, gfp_t gfp_mask, bool fclone): TEE and dup send the copy. */
int probe_copy_begin(struct pt_regs *ctx)
{
	runs(RAN_COPY_BEGIN);
	return remember(ctx, PT_REGS_PARM1(ctx));
}

/* The copy is followed from here on, so that its end is told even if no verdict loop sees it. */
static __always_inline int duplicated(u64 skb, u64 copy)
{
	u8 alive = ALIVE;

	if (!skb || !copy)
		return 0;
	if (skbs.update(&copy, &alive))
		count(N_SKBS_FULL);
	return turn(skb, DUPLICATED, copy);
}

int probe_copy_end(struct pt_regs *ctx)
{
	runs(RAN_COPY_END);
	return duplicated(remembered(ctx), PT_REGS_RC(ctx));
}

/* Around calls of skb_clone(): a bridge sends the clone to a port, or IP back to the host. */
int probe_spread_begin(struct pt_regs *ctx)
{
	runs(RAN_SPREAD_BEGIN);
	return remember(ctx, PT_REGS_PARM1(ctx));
}

int probe_spread_end(struct pt_regs *ctx)
{
	runs(RAN_SPREAD_END);
	return duplicated(remembered(ctx), PT_REGS_RC(ctx));
}

/*
 * Around the call of skb_clone() in skb_share_check(): a packet socket holds the skb, too, and the stack goes on with the clone. What the
 * socket does with the skb is no end of the packet.
 */
int probe_clone_begin(struct pt_regs *ctx)
{
	runs(RAN_CLONE_BEGIN);
	return remember(ctx, PT_REGS_PARM1(ctx));
}

int probe_clone_end(struct pt_regs *ctx)
{
	u64 skb = remembered(ctx), clone = PT_REGS_RC(ctx);
	u8 alive = ALIVE;

	runs(RAN_CLONE_END);
	if (!skb)
		return 0;
	if (!clone)	/* no memory: it frees its share of the skb, which no tracepoint tells */
		return end(skb, FREED, 0, PT_REGS_IP(ctx));
	if (skbs.update(&clone, &alive))
		count(N_SKBS_FULL);
	turn(skb, CLONED, clone);
	skbs.delete(&skb);
	return 0;
}

/*
 * int packet_rcv(struct sk_buff *skb, struct net_device *dev, struct packet_type *pt, struct net_device *orig_dev), and tpacket_rcv(): what
 * a layer holds, too, is cloned or copied for the packet socket. What nobody else holds was of no use to any layer.
 */
int probe_tap(struct pt_regs *ctx)
{
	u64 skb = PT_REGS_PARM1(ctx);
	u32 users = 0;

	runs(RAN_TAP);
	FETCH(users, skb + SKB_USERS);
	return users == 1 ? turn(skb, TAPPED, 0) : 0;
}

/* struct iphdr *nf_reject_iphdr_put(struct sk_buff *nskb, const struct sk_buff *oldskb, ...), and nf_reject_ip6hdr_put() with the same first ones */
int probe_reject(struct pt_regs *ctx)
{
	runs(RAN_REJECT);
	return turn(PT_REGS_PARM2(ctx), REJECTED, PT_REGS_PARM1(ctx));
}

/* struct sk_buff *nf_reject_skb_v4_unreach(struct net *net, struct sk_buff *oldskb, ...) and its like, which return the answer or NULL */
int probe_reject_begin(struct pt_regs *ctx)
{
	runs(RAN_REJECT_BEGIN);
	return remember(ctx, PT_REGS_PARM2(ctx));
}

int probe_reject_end(struct pt_regs *ctx)
{
	u64 skb = remembered(ctx), made = PT_REGS_RC(ctx);

	runs(RAN_REJECT_END);
	return skb && made ? turn(skb, REJECTED, made) : 0;
}

/* void netfilter_net_exit(struct net *net): its devices have gone, and its number is free for another one soon. */
int probe_gone(struct pt_regs *ctx)
{
	u64 net = PT_REGS_PARM1(ctx);
	struct gone_event *event;

	runs(RAN_GONE);
	if (setting(PHASE) == OFF)
		return 0;
	event = reserve_gone_event();
	if (!event) {
		lose();
		return 0;
	}
	event->type = EV_GONE;
	event->netns = 0;
	FETCH(event->netns, net + NET_INUM);
	event->time = bpf_ktime_get_ns();
	submit(event);
	return 0;
}
