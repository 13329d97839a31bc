package main

import (
	"fmt"
	"io"
	"time"
)

// routedTargets compares routed work with the bare handler and with calling the agent
// itself. Nothing is promised.
var routedTargets = []target{
	{a: routeHTTP + accepted, b: routeL0},
	{a: routeSocket + accepted, b: routeL0},
	{a: routeEcho + completed, b: routeL0},
	{a: routeHTTP + completed, b: routeL0},
	{a: routeSocket + completed, b: routeL0},
	{a: routeEcho + completed, b: routeDirect + completed},
	{a: routeHTTP + completed, b: routeDirect + completed},
	{a: routeSocket + completed, b: routeDirect + completed},
	{a: routeHTTP + talked, b: routeDirect + talked},
	{a: routeSocket + talked, b: routeDirect + talked},
	{a: routeHTTP + streamed, b: routeDirect + streamed},
	{a: routeSocket + streamed, b: routeDirect + streamed},
	{a: hookArcd, b: routeL0},
	{a: hookArcd, b: hookPlain},
}

// printRouted writes the rows of routed work.
func (r results) printRouted(w io.Writer) {
	row(w, routeL0, medianOf(r.rounds[routeL0]))
	for _, kind := range []string{accepted, completed, talked, streamed} {
		for _, way := range []string{routeDirect, routeEcho, routeHTTP, routeSocket} {
			if rounds := r.rounds[way+kind]; len(rounds) > 0 {
				row(w, way+kind, medianOf(rounds))
			}
		}
	}
	row(w, hookPlain, medianOf(r.rounds[hookPlain]))
	row(w, hookArcd, medianOf(r.rounds[hookArcd]))
	fmt.Fprintln(w, "\none task until COMPLETED\tmedian\t99 of 100\tadded to the agent itself\tto an agent in the process")
	direct, inside := r.latency[routeDirect], r.latency[routeEcho]
	for _, way := range []string{routeDirect, routeEcho, routeHTTP, routeSocket} {
		s := r.latency[way]
		fmt.Fprintf(w, "%s\t%s\t%s", way, micros(s.middle), micros(s.most))
		if way != routeDirect {
			fmt.Fprintf(w, "\t%s\t%s", micros(s.middle-direct.middle), micros(s.middle-inside.middle))
		}
		fmt.Fprintln(w)
	}
}

func micros(d time.Duration) time.Duration { return d.Round(time.Microsecond) }
