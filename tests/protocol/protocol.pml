/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The protocol of ownership: two clients, one server, for spin(1). docs/model.md says
 * what it has found, tests/protocol/run which sizes and mutations are run.
 *
 * What is there: delegations on a directory DIR and two files beneath it; checkout,
 * checkin, force (control connection, slot 0); dynamic grants (data connection, slot 1);
 * log batches; bulk WRITEs, which the server's disk finishes whenever it likes;
 * revocations on both connections; connections that break at any moment, with what is in
 * them lost or late; server, agents and clients that start again.
 *
 * What must hold, whatever happens:
 *
 *  1. Live delegations of different sessions are disjoint.
 *  2. No WRITE reaches the disk under a number that is not live, and none after a newer
 *     one to the same place.
 *  3. A record takes effect once, and a slotted request is carried out once.
 *  4. What was acknowledged is durable: the server never has less.
 *  5. Nothing that a client accepted is lost but by force or with the client: a log is
 *     closed with all that was appended, and nothing is appended to a closed one.
 *  6. In the end everything asked was answered, all that was accepted is durable, and
 *     nobody believes to own what was taken.
 *
 * Every run is finite: what clients do and what breaks is counted, and how much of
 * either is chosen at the beginning. So rule 6 is a test of the state in which nothing
 * can happen any more, and "for ever" needs no fairness.
 *
 * A step of a process is what the code does under one lock or in one commit. A commit and
 * its flush are one step: nobody hears of what is not flushed, so a crash between
 * them is a crash before.
 */

#ifndef PLACES
#define PLACES	3
#endif
#ifndef OPS
#define OPS	2	/* checkouts, checkins and dynamic grants of the first client */
#endif
#ifndef OTHER
#define OTHER	1	/* and of the second */
#endif
#ifndef RECORDS
#define RECORDS	1	/* appended by each client */
#endif
#ifndef WRITES
#define WRITES	0	/* by each client */
#endif
#ifndef CUTS
#define CUTS	0	/* of data connections, altogether */
#endif
#ifndef AGENTS
#define AGENTS	0	/* restarts of agents: cuts of control connections */
#endif
#ifndef CRASHES
#define CRASHES	0	/* of the server */
#endif
#ifndef REBOOTS
#define REBOOTS	0	/* of clients */
#endif
#ifndef KILLS
#define KILLS	0	/* callers killed between two tries */
#endif

#define CLIENTS	2
#define NUMBERS	(OPS + OTHER)
#define BIT(n)	(1 << ((n) - 1))

#define DIR	0
#define FILE	1	/* the one that WRITEs go to; PLACES 3: another beneath DIR */

/* Of a delegation at the server. */
#define NONE	0
#define LIVE	1
#define CLOSED	2
#define TAKEN	3
/* And at its owner. */
#define DRAIN	2

/* Of a checkout or checkin. */
#define IDLE	0
#define SETTLE	1
#define FLUSH	2
#define ASKED	3

mtype = { LOG, WRITE, DYN, GRANT, CHECKIN, REVOKE };
mtype = { OK, BUSY, AGAIN, COVERED, WAS_TAKEN, WAS_CLOSED, NOTHING };

#define COVERS(a, b)	((a) == (b) || (a) == DIR)
#ifdef NO_ANCESTORS
#define CONFLICT(a, b)	((a) == (b))
#else
#define CONFLICT(a, b)	(COVERS(a, b) || COVERS(b, a))
#endif

/* ---- what is on the wire ---- */

/* Data connections, two a client: the one that is used, and the one before. */
chan dup[2 * CLIENTS] = [4] of { mtype, byte, byte, byte };	/* op, number or seq, first, last */
chan ddown[2 * CLIENTS] = [4] of { mtype, mtype, byte, byte };	/* op, status, number or seq, value */
chan cup[CLIENTS] = [2] of { mtype, byte, byte, bool, byte };	/* op, seq, place, force, known */
chan cdown[CLIENTS] = [4] of { mtype, mtype, byte, byte };	/* op, status, seq or number, value */

/* ---- the server ---- */

typedef Deleg {
	byte st;
	byte owner;
	byte place;
	byte applied;
	bool tomb;	/* closed, and its session has not heard so yet */
	/* ghosts */
	byte count;	/* how often records took effect */
	byte appended;	/* by its owner */
};
Deleg d[NUMBERS + 1];
byte granted;		/* the last number given */

typedef Slot {
	byte seq;
	mtype status;
	byte value;
	byte done;	/* ghost: the last that was carried out */
	byte closed;	/* mask of numbers whose tombs wait for the next request */
};
Slot slot[2 * CLIENTS];

typedef Parked {
	bool is;
	mtype op;
	byte seq, place, known;
	bool force;
	byte stopped;	/* mask of the numbers that it stopped */
};
Parked parked[CLIENTS];

/* Submitted to the disk. */
typedef Io {
	byte num;		/* number, 0: nothing */
	byte ver;
	byte by, via;	/* client, data socket */
};
Io io[2];
byte data;		/* the version in FILE's data */
byte leaked;		/* mask: stopped by somebody who has gone (STOP_LEAK) */
byte live[CLIENTS];	/* masks of each session's numbers: those that are live */
byte taken[CLIENTS];	/* and those that were taken from it */

byte bound[CLIENTS];	/* the data socket that replies go to */
bool open[2 * CLIENTS];	/* sockets the server reads from */
bool bind[CLIENTS];	/* a client asks for a new epoch */
bool begin[CLIENTS];	/* a client that has started again opens its session */
byte told_data[CLIENTS], told_ctl[CLIENTS];	/* masks: revocations pushed on this connection */

/* ---- the clients ---- */

typedef Own {
	byte n;		/* 0: none */
	byte st;
	byte next, sent, acked;	/* records appended, sent, acknowledged */
	byte w;		/* version of the WRITE that is under way, 0: none */
	bool wsent;
};
Own o[CLIENTS * PLACES];

typedef Client {
	bool up;
	byte e;		/* its data socket, 0 or 1 */
	/* slot 1 */
	bool dyn, dsent;
	byte dplace, dseq;
	/* slot 0 */
	byte ctl;
	bool csent, checkin, force, held_back;
	byte place, seq, known;
	byte early;	/* mask of revocations that came before their grants */
	byte top;	/* the highest number it has heard of */
	byte ops, records, writes;
};
Client k[CLIENTS];

byte version;		/* ghost: of the last WRITE that was begun */
byte cuts, agents, crashes, reboots, kills;

/* ---- of both ---- */

#define OWN(c, p)	o[(c) * PLACES + (p)]
/* Something of this session is about to end. */
#define ENDING(c)	((parked[0].stopped | parked[1].stopped | leaked) & live[c])
#define IO_FREE		(!io[0].num || !io[1].num)
#define IO_FROM(c)	((io[0].num && io[0].by == (c)) || (io[1].num && io[1].by == (c)))
#define SOCK(c)		(2 * (c) + k[c].e)

/* Empty a channel. */
inline drop_data(i)
{
	do
	:: nempty(dup[i]) -> dup[i]?_,_,_,_
	:: empty(dup[i]) && nempty(ddown[i]) -> ddown[i]?_,_,_,_
	:: empty(dup[i]) && empty(ddown[i]) -> break
	od
}

inline drop_down(i)
{
	do
	:: nempty(ddown[i]) -> ddown[i]?_,_,_,_
	:: empty(ddown[i]) -> break
	od
}

inline drop_control(c)
{
	do
	:: nempty(cup[c]) -> cup[c]?_,_,_,_,_
	:: empty(cup[c]) && nempty(cdown[c]) -> cdown[c]?_,_,_,_
	:: empty(cup[c]) && empty(cdown[c]) -> break
	od;
	k[c].csent = false;
	told_ctl[c] = 0
}

/* A data connection is gone for its client: what was not answered is sent again. */
inline cut_data(c)
{
	drop_down(SOCK(c));
	k[c].up = false;
	k[c].dsent = false;
	p = 0;
	do
	:: p < PLACES ->
		OWN(c, p).sent = OWN(c, p).acked;
		OWN(c, p).wsent = false;
		p++
	:: p == PLACES -> break
	od;
	p = 0
}

inline reply_data(c, sock, what, how, nr, arg)
{
	if
	:: k[c].up && SOCK(c) == sock -> ddown[sock]!what,how,nr,arg
	:: else
	fi
}

#include "server.pml"
#include "client.pml"

/* ---- the whole ---- */

#define ENDED(c, p) \
	(!OWN(c, p).n || (OWN(c, p).st == LIVE && !OWN(c, p).w && \
			  OWN(c, p).acked == OWN(c, p).next && \
			  d[OWN(c, p).n].st == LIVE && d[OWN(c, p).n].owner == c && \
			  d[OWN(c, p).n].applied == OWN(c, p).next))
#define ALL_ENDED(c) \
	(k[c].ctl == IDLE && !k[c].dyn && k[c].up && !bind[c] && !begin[c] && !parked[c].is && \
	 ALL(c, ENDED))

/* Rule 6. */
active proctype End()
{
	timeout;
	assert(!io[0].num && !io[1].num);
	assert(ALL_ENDED(0));
	assert(ALL_ENDED(1))
}

inline up_to(what, most)
{
	what = 0;
	do
	:: what < most -> what++
	:: break
	od
}

init {
	byte c;

	atomic {
		up_to(cuts, CUTS);
		up_to(agents, AGENTS);
		up_to(crashes, CRASHES);
		up_to(reboots, REBOOTS);
		up_to(kills, KILLS);
		for (c : 0 .. CLIENTS - 1) {
			k[c].records = RECORDS;
			k[c].writes = WRITES;
			open[2 * c] = true;
			k[c].up = true
		}
		up_to(k[0].ops, OPS);
		up_to(k[1].ops, OTHER);
		run Kernel(0);
		run Kernel(1)
	}
}
