// Command soak has callers use arcd while everything around it fails, for a bounded time,
// and proves afterwards that nothing was lost, nothing done twice, and nobody saw what is
// somebody else's.
//
//	place     three replicas of arcd on one PostgreSQL, then one with SQLite; the arcd of
//	          this checkout, with a clock that can be shifted while it runs
//	front     a TCP proxy that spreads connections over the replicas, and cuts them
//	load      callers of three owners, by package client with its rule for repeating:
//	          tasks with keys (also twice at once), reads, lists, messages, questions,
//	          cancels, streams of tasks and chats, webhooks; an agent that dials in
//	faults    by the seed: replicas killed and restarted, stopped and restarted, a clock
//	          shifted by minutes; PostgreSQL stopped and crashed, its connections
//	          terminated; connections of callers cut; the disk of SQLite full
//	settle    the faults end; callers repeat what was not answered
//	check     everything is read back and compared with what callers were told
//
// The seed decides what is done; when it meets what is a matter of the machine, so two runs
// with one seed are alike, not equal.
//
// What is acknowledged is what a caller got an answer for. Each violation is printed, and
// the exit code is 1 if there is one.
package main
