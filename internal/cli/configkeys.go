package cli

import (
	"reflect"
	"strings"
)

// keyInfo describes one key of the configuration.
type keyInfo struct {
	key    string // with NAME where the operator chooses a name
	help   string
	secret bool
}

// allKeys lists every key, in the order of config.
func allKeys() []keyInfo { return keysBelow("", reflect.TypeFor[config](), "", false) }

// keysBelow lists the keys below one whose type is t.
func keysBelow(key string, t reflect.Type, help string, secret bool) []keyInfo {
	switch {
	case t.Kind() == reflect.Struct:
		var keys []keyInfo
		for f := range t.Fields() {
			path := join(key, f.Tag.Get("koanf"))
			keys = append(keys, keysBelow(path, f.Type, f.Tag.Get("help"), f.Tag.Get("secret") == "true")...)
		}
		return keys
	case t.Kind() == reflect.Map && help == "": // a level of named things
		return keysBelow(key+".NAME", t.Elem(), "", false)
	case t.Kind() == reflect.Map: // lists by method
		return []keyInfo{{key: key + ".METHOD", help: help}}
	}
	return []keyInfo{{key: key, help: help, secret: secret}}
}

// knownKeys lists the keys that somebody who wrote key may have meant, with the
// names that were written in place of NAME. Levels are there too.
func knownKeys(key string) []string {
	written := strings.Split(key, ".")
	var known []string
	for _, info := range allKeys() {
		parts := strings.Split(info.key, ".")
		for i, part := range parts {
			if part == "NAME" && i < len(written) {
				parts[i] = written[i]
			}
		}
		for n := 1; n <= len(parts); n++ {
			known = append(known, strings.Join(parts[:n], "."))
		}
	}
	return known
}

// nearest finds the candidate that takes the fewest changes of a letter from
// word, or shares its last name; "" if none is near.
func nearest(word string, candidates []string) string {
	best, least := "", max(2, len(word)/4)+1
	for _, c := range candidates {
		d := distance(word, c)
		if d >= least && lastName(c) == lastName(word) {
			d = least - 1 // right name at the wrong level
			if best != "" {
				continue
			}
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// lastName is what stands behind the last dot of a key.
func lastName(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// distance is the Levenshtein distance of two texts in bytes.
func distance(a, b string) int {
	// row[j] is the distance of what was read of a to the first j bytes of b.
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
