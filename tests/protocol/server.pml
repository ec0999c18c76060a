/* SPDX-License-Identifier: GPL-2.0 */
/* The server of protocol.pml: tools/server. */

/* ---- server: ownership ---- */

inline close(num, how)
{
	d[num].st = how;
	d[num].tomb = (how == CLOSED);
	live[d[num].owner] = live[d[num].owner] & ~BIT(num);
	if
	:: how == TAKEN -> taken[d[num].owner] = taken[d[num].owner] | BIT(num)
	:: else
	fi
}

/*
 * Who is in the way of (c, place): covered = the number of its own that covers it, others
 * and own = masks of what would have to end.
 */
inline look(c, where)
{
	covered = 0;
	others = 0;
	own = 0;
	n = 1;
	do
	:: n <= granted ->
		if
		:: d[n].st == LIVE && d[n].owner == c && COVERS(d[n].place, where) -> covered = n
		:: d[n].st == LIVE && d[n].owner == c && d[n].place != where &&
		   COVERS(where, d[n].place) -> own = own | BIT(n)
		:: d[n].st == LIVE && d[n].owner != c && CONFLICT(d[n].place, where) ->
			others = others | BIT(n)
		:: else
		fi;
		n++
	:: n > granted -> break
	od;
	n = 0
}

inline grant(c, where)
{
#ifdef REUSE_NUMBERS
	n = 1;
	do
	:: n <= granted && d[n].st >= CLOSED -> break
	:: n <= granted && d[n].st == LIVE -> n++
	:: n > granted -> break
	od;
	if
	:: n > granted -> granted++
	:: else
	fi;
#else
	granted++;
	n = granted;
#endif
	d[n].st = LIVE;
	d[n].owner = c;
	live[c] = live[c] | BIT(n);
	d[n].place = where;
	d[n].applied = 0;
	d[n].count = 0;
	d[n].appended = 0;
	value = n;
	/* rule 1 */
	m = 1;
	do
	:: m <= granted ->
		assert(m == n || d[m].st != LIVE || d[m].owner == c ||
		       !(COVERS(d[m].place, where) || COVERS(where, d[m].place)));
		m++
	:: m > granted -> break
	od;
	m = 0;
	n = 0
}

/* Close every number of a mask; rule 5. */
inline close_mask(mask, how)
{
	n = 1;
	do
	:: n <= granted ->
		if
		:: mask & BIT(n) ->
			assert(how == TAKEN || d[n].appended == d[n].applied);
			close(n, how)
		:: else
		fi;
		n++
	:: n > granted -> break
	od;
	n = 0
}

#ifdef NO_IO_WAIT
#define QUIET(mask)	true
#else
#define QUIET(mask)	(!(io[0].num && ((mask) & BIT(io[0].num))) && \
			 !(io[1].num && ((mask) & BIT(io[1].num))))
#endif

#ifdef NO_KNOWN
#define UNKNOWN(mask, known)	false
#else
#define UNKNOWN(mask, known)	(((mask) >> (known)) != 0)
#endif

inline unpark(c)
{
	parked[c].is = false;
	parked[c].stopped = 0;
	parked[c].op = 0;
	parked[c].seq = 0;
	parked[c].place = 0;
	parked[c].known = 0;
	parked[c].force = false
}

/* The slot's reply is stored with the effect, and sent. */
inline finish_control(c)
{
	assert(parked[c].seq > slot[2 * c].done);	/* rule 3 */
	slot[2 * c].done = parked[c].seq;
	slot[2 * c].seq = parked[c].seq;
	slot[2 * c].status = status;
	slot[2 * c].value = value;
#ifdef STOP_LEAK
	leaked = leaked | parked[c].stopped;
#endif
	unpark(c);
	cdown[c]!GRANT,status,slot[2 * c].seq,value
}

/* Try what is parked; it stays there while I/O of what has to end is on its way. */
inline try_control(c)
{
	look(c, parked[c].place);
	value = 0;
	if
	:: parked[c].op == GRANT && covered ->
		status = COVERED;
		value = covered
	:: parked[c].op == GRANT && !covered && others && !parked[c].force ->
		status = BUSY
	:: parked[c].op == GRANT && !covered && (!others || parked[c].force) &&
	   UNKNOWN(own, parked[c].known) ->
		status = AGAIN
	:: parked[c].op == GRANT && !covered && (!others || parked[c].force) &&
	   !UNKNOWN(own, parked[c].known) ->
		parked[c].stopped = others | own;
		if
		:: QUIET(others | own) ->
			close_mask(others, TAKEN);
			close_mask(own, CLOSED);
			slot[2 * c].closed = own;
			grant(c, parked[c].place);
			status = OK
		:: else -> status = 0
		fi
	:: parked[c].op == CHECKIN && covered && d[covered].place != parked[c].place ->
		status = BUSY
	:: parked[c].op == CHECKIN && (!covered || d[covered].place == parked[c].place) ->
		if
		:: covered -> own = own | BIT(covered)
		:: else
		fi;
		if
		:: !own -> status = NOTHING
		:: own && UNKNOWN(own, parked[c].known) -> status = AGAIN
		:: own && !UNKNOWN(own, parked[c].known) ->
			parked[c].stopped = own;
			if
			:: QUIET(own) ->
				close_mask(own, CLOSED);
				slot[2 * c].closed = own;
				status = OK
			:: else -> status = 0
			fi
		fi
	fi;
	if
	:: status -> finish_control(c)
	:: else
	fi;
	status = 0;
	value = 0;
	covered = 0;
	others = 0;
	own = 0
}

/* The next request in a slot says that the last reply has come. */
inline slot_moves(i)
{
	n = 1;
	do
	:: n <= granted ->
		if
		:: slot[i].closed & BIT(n) -> d[n].tomb = false
		:: else
		fi;
		n++
	:: n > granted -> break
	od;
	n = 0;
	slot[i].closed = 0
}

inline serve_control(c)
{
	cup[c]?op,seq,pl,force,known;
	if
	:: seq == slot[2 * c].seq + 1 && !parked[c].is ->
		slot_moves(2 * c);
		parked[c].is = true;
		parked[c].op = op;
		parked[c].seq = seq;
		parked[c].place = pl;
		parked[c].force = force;
		parked[c].known = known;
		try_control(c)
	:: seq == slot[2 * c].seq ->
		cdown[c]!GRANT,slot[2 * c].status,seq,slot[2 * c].value
	:: else		/* it is parked, and will be answered; or an old one */
	fi;
	op = 0;
	seq = 0;
	pl = 0;
	force = false;
	known = 0
}

/* A dynamic grant: only where nobody owns. */
inline serve_dyn(c, sock)
{
	if
	:: n == slot[2 * c + 1].seq + 1 ->
		seq = n;
		pl = first;
		assert(seq > slot[2 * c + 1].done);
		slot[2 * c + 1].done = seq;
		look(c, pl);
		value = 0;
		if
		:: others -> status = BUSY
		:: !others && covered ->
			status = COVERED;
			value = covered
		:: !others && !covered ->
			grant(c, pl);
			status = OK
		fi;
		slot[2 * c + 1].seq = seq;
		slot[2 * c + 1].status = status;
		slot[2 * c + 1].value = value;
		reply_data(c, sock, DYN, status, seq, value)
	:: n == slot[2 * c + 1].seq ->
		reply_data(c, sock, DYN, slot[2 * c + 1].status, n, slot[2 * c + 1].value)
	:: else
	fi;
	n = 0;
	status = 0;
	value = 0;
	covered = 0;
	others = 0;
	own = 0;
	seq = 0;
	pl = 0
}

/* ---- server: log and data ---- */

#define GONE(n)	(d[n].st == CLOSED && d[n].tomb -> WAS_CLOSED : WAS_TAKEN)

inline serve_log(c, sock)
{
	if
	:: d[n].st == LIVE && d[n].owner == c ->
		assert(first <= d[n].applied + 1);	/* no gap */
#ifdef EARLY_ACK
		reply_data(c, sock, LOG, OK, n, last);
		last = 0;
#endif
#ifdef NO_DEDUP
		d[n].count = d[n].count + (last -> last - first + 1 : 0);
#else
		d[n].count = d[n].count + (last > d[n].applied -> last - d[n].applied : 0);
#endif
		d[n].applied = (last > d[n].applied -> last : d[n].applied);
		assert(d[n].count == d[n].applied)	/* rule 3 */
#ifndef EARLY_ACK
		; reply_data(c, sock, LOG, OK, n, d[n].applied)
#endif
	:: else ->
		reply_data(c, sock, LOG, GONE(n), n, d[n].applied)
	fi
}

#ifdef NO_FENCE
#define MAY_WRITE(c, n)	true
#else
#define MAY_WRITE(c, n)	(d[n].st == LIVE && d[n].owner == c)
#endif

inline serve_write(c, sock)
{
	if
	:: MAY_WRITE(c, n) ->
		i = (io[0].num -> 1 : 0);
		io[i].num = n;
		io[i].ver = first;
		io[i].by = c;
		io[i].via = sock
#ifdef WRITE_ACK
		; reply_data(c, sock, WRITE, OK, n, first)
#endif
		; i = 0
	:: else ->
		reply_data(c, sock, WRITE, GONE(n), n, first)
	fi
}

/* Rule 2. */
inline io_lands(i)
{
	assert(d[io[i].num].st == LIVE);
	assert(io[i].ver >= data);
	data = io[i].ver
}

inline io_gone(i)
{
	io[i].num = 0;
	io[i].ver = 0;
	io[i].by = 0;
	io[i].via = 0
}

inline serve_data(c, sock)
{
	dup[sock]?op,n,first,last;
	if
	:: op == LOG -> serve_log(c, sock)
	:: op == WRITE -> serve_write(c, sock)
	:: op == DYN -> serve_dyn(c, sock)
	fi;
	op = 0;
	n = 0;
	first = 0;
	last = 0
}

inline io_done(i)
{
	io_lands(i);
	reply_data(io[i].by, io[i].via, WRITE, OK, io[i].num, io[i].ver);
	io_gone(i)
}

/* ---- server: sessions ---- */

#ifdef NO_EPOCH
#define MAY_BIND(c)	(!begin[c])
#else
#define MAY_BIND(c)	(!begin[c] && !IO_FROM(c))
#endif

/* The new epoch is answered when nothing of the old one can land any more. */
inline serve_bind(c)
{
	bind[c] = false;
#ifndef NO_EPOCH
	drop_data(2 * c);
	drop_data(2 * c + 1);
	open[2 * c] = false;
	open[2 * c + 1] = false;
#else
	drop_data(2 * c + 1 - k[c].e);
#endif
	k[c].e = 1 - k[c].e;
	open[SOCK(c)] = true;
	k[c].up = true;
	told_data[c] = 0
}

/* A client that has started again: its old session is over. */
inline serve_begin(c)
{
	n = 1;
	do
	:: n <= granted ->
		if
		:: d[n].st == LIVE && d[n].owner == c -> d[n].st = CLOSED
		:: else
		fi;
		/* nobody is left to ask for it */
		if
		:: d[n].st && d[n].owner == c -> d[n].tomb = false; d[n].owner = CLIENTS
		:: else
		fi;
		n++
	:: n > granted -> break
	od;
	n = 0;
	live[c] = 0;
	taken[c] = 0;
	unpark(c);
	for (i : 2 * c .. 2 * c + 1) {
		slot[i].seq = 0;
		slot[i].done = 0;
		slot[i].status = 0;
		slot[i].value = 0;
		slot[i].closed = 0;
		drop_data(i);
		open[i] = false
	}
	i = 0;
	drop_control(c);
	begin[c] = false;
	bind[c] = true
}

inline push_data(c)
{
	n = 1;
	do
	:: taken[c] & ~told_data[c] & BIT(n) -> break
	:: else -> n++
	od;
	told_data[c] = told_data[c] | BIT(n);
	ddown[SOCK(c)]!REVOKE,OK,n,0;
	n = 0
}

inline push_ctl(c)
{
	n = 1;
	do
	:: taken[c] & ~told_ctl[c] & BIT(n) -> break
	:: else -> n++
	od;
	told_ctl[c] = told_ctl[c] | BIT(n);
	cdown[c]!REVOKE,OK,n,0;
	n = 0
}

/* The server's process is gone: so is what it had not made durable, and every connection. */
inline crash()
{
	crashes--;
	for (i : 0 .. 1) {
		if
		:: io[i].num -> io_lands(i)
		:: true
		fi;
		io_gone(i)
	}
	for (c : 0 .. CLIENTS - 1) {
#ifdef SLOT_FORGET
		if
		:: k[c].ctl == ASKED && slot[2 * c].seq == k[c].seq -> slot[2 * c].seq--
		:: true
		fi;
#endif
		unpark(c);
		cut_data(c);
		drop_data(2 * c);
		drop_data(2 * c + 1);
		open[2 * c] = false;
		open[2 * c + 1] = false;
		if
		:: !begin[c] -> bind[c] = true
		:: else
		fi;
		drop_control(c)
	}
	c = 0;
	i = 0;
	leaked = 0
}

active proctype Server()
{
	byte c, i, n, m, p, pl, seq, first, last, known, value, covered, others, own;
	mtype op, status;
	bool force;

end:	do
	:: d_step { nempty(cup[0]) && nfull(cdown[0]) -> serve_control(0) }
	:: d_step { nempty(cup[1]) && nfull(cdown[1]) -> serve_control(1) }
	:: d_step { parked[0].is && QUIET(parked[0].stopped) && nfull(cdown[0]) -> try_control(0) }
	:: d_step { parked[1].is && QUIET(parked[1].stopped) && nfull(cdown[1]) -> try_control(1) }
	:: d_step { open[0] && nempty(dup[0]) && nfull(ddown[0]) && !ENDING(0) && IO_FREE -> serve_data(0, 0) }
	:: d_step { open[1] && nempty(dup[1]) && nfull(ddown[1]) && !ENDING(0) && IO_FREE -> serve_data(0, 1) }
	:: d_step { open[2] && nempty(dup[2]) && nfull(ddown[2]) && !ENDING(1) && IO_FREE -> serve_data(1, 2) }
	:: d_step { open[3] && nempty(dup[3]) && nfull(ddown[3]) && !ENDING(1) && IO_FREE -> serve_data(1, 3) }
#if WRITES
	:: d_step { io[0].num && nfull(ddown[io[0].via]) -> io_done(0) }
	:: d_step { io[1].num && nfull(ddown[io[1].via]) -> io_done(1) }
#endif
	:: d_step { bind[0] && MAY_BIND(0) -> serve_bind(0) }
	:: d_step { bind[1] && MAY_BIND(1) -> serve_bind(1) }
#if REBOOTS
	:: d_step { begin[0] && !IO_FROM(0) -> serve_begin(0) }
	:: d_step { begin[1] && !IO_FROM(1) -> serve_begin(1) }
#endif
	/* each revocation once on every connection */
	:: d_step { k[0].up && (taken[0] & ~told_data[0]) && nfull(ddown[SOCK(0)]) -> push_data(0) }
	:: d_step { k[1].up && (taken[1] & ~told_data[1]) && nfull(ddown[SOCK(1)]) -> push_data(1) }
	:: d_step { (taken[0] & ~told_ctl[0]) && nfull(cdown[0]) -> push_ctl(0) }
	:: d_step { (taken[1] & ~told_ctl[1]) && nfull(cdown[1]) -> push_ctl(1) }
#if CRASHES
	:: atomic { crashes -> crash() }
#endif
	od
}
