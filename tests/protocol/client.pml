/* SPDX-License-Identifier: GPL-2.0 */
/* A client of protocol.pml: kernel and tools/agent. */

/* A delegation is lost: what was not acknowledged is gone. */
inline lose(c, num)
{
	p = 0;
	do
	:: p < PLACES ->
		if
		:: OWN(c, p).n == num -> forget(c, p)
		:: else
		fi;
		p++
	:: p == PLACES -> break
	od;
	p = 0
}

inline forget(c, p)
{
	OWN(c, p).n = 0;
	OWN(c, p).st = 0;
	OWN(c, p).next = 0;
	OWN(c, p).sent = 0;
	OWN(c, p).acked = 0;
	OWN(c, p).w = 0;
	OWN(c, p).wsent = false
}

/*
 * Two grants whose places overlap: the older was taken, and its revocation is on its way.
 * Replies may come in any order, so the older may be the one that is installed. A dynamic
 * grant looks at its own place only: nothing is asked for where an older one is cached.
 */
inline overlap(c, where, num, all)
{
	m = 0;
	p = 0;
	do
	:: p < PLACES ->
		if
		:: OWN(c, p).n && (p == where || (all && (COVERS(where, p) || COVERS(p, where)))) ->
			if
			:: OWN(c, p).n < num ->
				assert(d[OWN(c, p).n].st == TAKEN);	/* rule 5 */
				forget(c, p)
			:: else ->
				assert(d[num].st == TAKEN);
				m = num
			fi
		:: else
		fi;
		p++
	:: p == PLACES -> break
	od;
	p = 0
}

inline install(c, where, num, all)
{
	assert(d[num].st != CLOSED);	/* rule 5 */
	overlap(c, where, num, all);
	if
	:: num > k[c].top -> k[c].top = num
	:: else
	fi;
	if
	:: m == num
#ifndef NO_EARLY
	:: k[c].early & BIT(num)
#endif
	:: else ->
		OWN(c, where).n = num;
		OWN(c, where).st = LIVE
	fi;
	m = 0
}

/* No reply can bring a grant any more. */
inline settled(c)
{
	if
	:: !k[c].dyn && k[c].ctl != ASKED -> k[c].early = 0
	:: else
	fi
}

inline revoked(c, num)
{
	p = 0;
	do
	:: p < PLACES && OWN(c, p).n == num -> forget(c, p); break
	:: p < PLACES && OWN(c, p).n != num -> p++
	:: p == PLACES ->
		/* also one that is long lost: forgotten again when no grant is due */
		k[c].early = k[c].early | BIT(num);
		settled(c);
		break
	od;
	p = 0
}

/* What is held where a checkout or checkin is: in state from, comes to state to. */
inline all_beneath(c, from, to)
{
	p = 0;
	do
	:: p < PLACES ->
		if
		:: OWN(c, p).n && OWN(c, p).st == from && COVERS(k[c].place, p) ->
			OWN(c, p).st = to
		:: else
		fi;
		p++
	:: p == PLACES -> break
	od;
	p = 0
}

/* The logs that were drained are closed. */
inline close_held(c)
{
	p = 0;
	do
	:: p < PLACES ->
		if
		:: OWN(c, p).n && OWN(c, p).st == DRAIN -> forget(c, p)
		:: else
		fi;
		p++
	:: p == PLACES -> break
	od;
	p = 0
}

inline end_ctl(c)
{
	k[c].ctl = IDLE;
	k[c].csent = false;
	k[c].checkin = false;
	k[c].force = false;
	k[c].held_back = false;
	k[c].place = 0;
	k[c].known = 0
}

inline took_control(c)
{
	cdown[c]?op,status,n,value;
	if
	:: op == REVOKE -> revoked(c, n)
	:: op != REVOKE && k[c].ctl == ASKED && n == k[c].seq ->
		if
		:: status == OK ->
			close_held(c);
			if
			:: !k[c].checkin -> install(c, k[c].place, value, true)
			:: else
			fi;
			end_ctl(c)
		:: status == AGAIN ->
			all_beneath(c, DRAIN, LIVE);
			k[c].held_back = true;
			k[c].csent = false;
			k[c].ctl = SETTLE
		:: else ->
			all_beneath(c, DRAIN, LIVE);
			end_ctl(c)
		fi;
		settled(c)
	:: else
	fi;
	op = 0;
	status = 0;
	n = 0;
	value = 0
}

inline took_data(c)
{
	ddown[SOCK(c)]?op,status,n,value;
	if
	:: op == REVOKE -> revoked(c, n)
	:: op == DYN && k[c].dyn && n == k[c].dseq ->
		if
		:: status == OK -> install(c, k[c].dplace, value, false)
		:: else
		fi;
		k[c].dyn = false;
		k[c].dsent = false;
		k[c].dplace = 0;
		settled(c)
	:: op == LOG || op == WRITE ->
		p = 0;
		do
		:: p < PLACES && OWN(c, p).n == n -> break
		:: p < PLACES && OWN(c, p).n != n -> p++
		:: p == PLACES -> break
		od;
		if
		:: p < PLACES && op == LOG && (status == OK || status == WAS_CLOSED) &&
		   value > OWN(c, p).acked ->
			OWN(c, p).acked = value;
			if
			:: OWN(c, p).sent < value -> OWN(c, p).sent = value
			:: else
			fi;
			assert(d[n].st == TAKEN || d[n].applied >= value)	/* rule 4 */
		:: p < PLACES && op == WRITE && status == OK && OWN(c, p).w == value ->
			OWN(c, p).w = 0;
			OWN(c, p).wsent = false;
			assert(data >= value)	/* rule 4 */
		:: p < PLACES && status == WAS_TAKEN -> forget(c, p)
		:: else
		fi;
		p = 0
	:: else
	fi;
	op = 0;
	status = 0;
	n = 0;
	value = 0
}

#ifdef NO_DRAIN
#define DRAINED(c, p)	true
#else
#define DRAINED(c, p) \
	(OWN(c, p).st != DRAIN || (OWN(c, p).acked == OWN(c, p).next && !OWN(c, p).w))
#endif

/* Everything that is not in the kernel's or the server's durable memory. */
inline reboot(c)
{
	reboots--;
	drop_down(2 * c);
	drop_down(2 * c + 1);
	drop_control(c);
	p = 0;
	do
	:: p < PLACES -> forget(c, p); p++
	:: p == PLACES -> break
	od;
	p = 0;
	k[c].up = false;
	k[c].dyn = false;
	k[c].dsent = false;
	k[c].dplace = 0;
	k[c].dseq = 0;
	k[c].seq = 0;
	k[c].early = 0;
	k[c].top = 0;
	end_ctl(c);
	bind[c] = false;
	begin[c] = true
}


/* Nothing of one's own covers it. */
#define FREE(c, p)	(!OWN(c, DIR).n && !OWN(c, p).n)
#define MINE(c, p)	(OWN(c, p).n && OWN(c, p).st == LIVE)
#if PLACES > 2
#define ALL(c, what)	(what(c, 0) && what(c, 1) && what(c, 2))
#else
#define ALL(c, what)	(what(c, 0) && what(c, 1))
#endif

inline append(c, p)
{
	k[c].records--;
	OWN(c, p).next++;
	d[OWN(c, p).n].appended++;
	assert(d[OWN(c, p).n].st != CLOSED)	/* rule 5 */
}

inline send_log(c, p)
{
	dup[SOCK(c)]!LOG,OWN(c, p).n,OWN(c, p).sent + 1,OWN(c, p).next;
	OWN(c, p).sent = OWN(c, p).next
}

inline write(c, p)
{
	k[c].writes--;
	version++;
	OWN(c, p).w = version
}

inline send_write(c, p)
{
	dup[SOCK(c)]!WRITE,OWN(c, p).n,OWN(c, p).w,0;
	OWN(c, p).wsent = true
}

inline begin_dyn(c, p)
{
	k[c].ops--;
	k[c].dyn = true;
	k[c].dplace = p;
	k[c].dseq++
}

inline begin_ctl(c, p, is_checkin, by_force)
{
	k[c].ops--;
	k[c].ctl = SETTLE;
	k[c].place = p;
	k[c].checkin = is_checkin;
	k[c].force = by_force
}

#define CAN_SEND(c)	(k[c].up && nfull(dup[SOCK(c)]))
#define CAN_BEGIN(c)	(k[c].ops && k[c].ctl == IDLE)

/* What may happen in one place; in one beneath DIR. */
#define IN_PLACE(p) \
	:: d_step { k[c].records && MINE(c, p) -> append(c, p) } \
	:: d_step { OWN(c, p).sent < OWN(c, p).next && CAN_SEND(c) -> send_log(c, p) } \
	:: d_step { OWN(c, p).w && !OWN(c, p).wsent && CAN_SEND(c) -> send_write(c, p) } \
	:: d_step { CAN_BEGIN(c) && FREE(c, p) -> begin_ctl(c, p, false, false) } \
	:: d_step { CAN_BEGIN(c) && FREE(c, p) -> begin_ctl(c, p, false, true) } \
	:: d_step { CAN_BEGIN(c) && HELD(c, p) -> begin_ctl(c, p, true, false) }
#define IN_FILE(p) \
	:: d_step { k[c].ops && !k[c].dyn && !k[c].held_back && FREE(c, p) -> begin_dyn(c, p) }
#define HELD(c, p)	(OWN(c, p).n || ((p) == DIR && !ALL(c, NOT_HELD)))
#define NOT_HELD(c, p)	(!OWN(c, p).n)

proctype Kernel(byte c)
{
	byte n, m, p, value;
	mtype op, status;

end:	do
	IN_PLACE(DIR)
	IN_PLACE(FILE)
	IN_FILE(FILE)
#if PLACES > 2
	IN_PLACE(2)
	IN_FILE(2)
#endif
#if WRITES
	:: d_step { k[c].writes && MINE(c, DIR) && !OWN(c, DIR).w -> write(c, DIR) }
	:: d_step { k[c].writes && MINE(c, FILE) && !OWN(c, FILE).w -> write(c, FILE) }
#endif
	:: d_step { k[c].dyn && !k[c].dsent && CAN_SEND(c) ->
		k[c].dsent = true;
		dup[SOCK(c)]!DYN,k[c].dseq,k[c].dplace,0 }
	/* what is granted by now has been heard of */
	:: d_step { k[c].ctl == SETTLE && !k[c].dyn ->
		k[c].known = k[c].top;
		all_beneath(c, LIVE, DRAIN);
		k[c].ctl = FLUSH }
	:: d_step { k[c].ctl == FLUSH && ALL(c, DRAINED) ->
		k[c].seq++;
		k[c].ctl = ASKED }
	:: d_step { k[c].ctl == ASKED && !k[c].csent && !begin[c] && nfull(cup[c]) ->
		k[c].csent = true;
		cup[c]!(k[c].checkin -> CHECKIN : GRANT),k[c].seq,k[c].place,k[c].force,k[c].known }
	:: d_step { !begin[c] && nempty(cdown[c]) -> took_control(c) }
	:: d_step { k[c].up && nempty(ddown[SOCK(c)]) -> took_data(c) }
	/* what breaks */
#if KILLS
	:: d_step { kills && (k[c].ctl == SETTLE || k[c].ctl == FLUSH) ->
		kills--;
		all_beneath(c, DRAIN, LIVE);
		end_ctl(c) }
#endif
#if CUTS
	:: d_step { cuts && k[c].up ->
		cuts--;
		cut_data(c);
		bind[c] = true }
#endif
#if AGENTS
	:: d_step { agents && k[c].ctl == ASKED ->
		agents--;
		drop_control(c) }
	/* what the old one has sent is still on its way */
	:: d_step { agents && k[c].ctl == ASKED && nempty(cup[c]) ->
		agents--;
		k[c].csent = false }
#endif
#if REBOOTS
	:: d_step { reboots && !begin[c] -> reboot(c) }
#endif
	od
}
