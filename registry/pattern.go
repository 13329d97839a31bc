package registry

import (
	"regexp/syntax"
	"strings"
)

// maxGroups bounds how deep groups nest: other parsers call themselves for each.
const maxGroups = 32

// portable tells whether a regular expression means something to Go and to
// Python, whose re module the published client compiles each pattern of each
// record with. It takes what both languages have in common and refuses the rest.
func portable(pattern string) bool {
	if !commonEscapes(pattern) {
		return false
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && repeatable(tree) && distinct(tree.CapNames())
}

// distinct tells whether no group has the name of another.
func distinct(names []string) bool {
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if name != "" && seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// commonEscapes looks through the text for what Go reads and Python does not, or
// reads in another way: escapes, groups, ranges that begin with a class.
func commonEscapes(pattern string) bool {
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			length := escapeLength(pattern[i+1:])
			if length == 0 {
				return false
			}
			i += length
			if strings.ContainsRune("dDsSwW", rune(pattern[i])) && strings.HasPrefix(pattern[i+1:], "-") {
				return false // [\d-z]
			}
		case '(':
			if depth++; depth > maxGroups || !commonGroup(pattern[i+1:]) {
				return false
			}
		case ')':
			depth--
		case '[':
			if strings.HasPrefix(pattern[i+1:], ":") || strings.HasPrefix(pattern[i+1:], "[:") {
				return false // [[:alpha:]]
			}
		case '{':
			if strings.HasPrefix(pattern[i+1:], ",") {
				return false // a{,3} repeats in Python only
			}
		}
	}
	return true
}

// escapeLength is the length of what stands behind a backslash; 0: it is not
// common.
func escapeLength(rest string) int {
	if rest == "" {
		return 0
	}
	c := rest[0]
	switch {
	case strings.IndexByte("afnrtvdDsSwWbBA", c) >= 0:
		return 1
	case c == 'x':
		if len(rest) >= 3 && hexDigit(rest[1]) && hexDigit(rest[2]) {
			return 3
		}
		return 0
	case c > ' ' && c < 0x7f && !letterOrDigit(c) && c != '_':
		return 1
	}
	return 0
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// commonGroup tells whether a group begins in a way that both know: (, (?: or
// (?P<name>.
func commonGroup(rest string) bool {
	if !strings.HasPrefix(rest, "?") || strings.HasPrefix(rest, "?:") {
		return true
	}
	name, ok := strings.CutPrefix(rest, "?P<")
	return ok && name != "" && (name[0] < '0' || name[0] > '9')
}

// repeatable refuses the repetition of what has no width, such as ^*, which
// Python does not take.
func repeatable(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		switch tree.Sub[0].Op {
		case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
			syntax.OpWordBoundary, syntax.OpNoWordBoundary, syntax.OpEmptyMatch:
			return false
		}
	}
	for _, sub := range tree.Sub {
		if !repeatable(sub) {
			return false
		}
	}
	return true
}
