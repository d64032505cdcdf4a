package config

import "strings"

// Suggest finds the known word that was likely meant, or "".
func Suggest(got string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if p, q := plain(k), plain(got); p == q || min(len(p), len(q)) >= 3 && (strings.HasPrefix(p, q) || strings.HasPrefix(q, p)) {
			return k
		}
		// Of a short word, nearly everything is two letters away.
		if d := distance(got, k); d < bestDistance && d*2 < len(k) {
			best, bestDistance = k, d
		}
	}
	return best
}

// plain folds firstByte, first-byte and first_byte into one.
func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to get from a to b.
func distance(a, b string) int {
	older, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, prev[j]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, prev = prev, row
	}
	return prev[len(b)]
}
