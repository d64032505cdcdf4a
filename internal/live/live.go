// Package live knows what a gateway does at the moment: the requests under way, the last
// minutes in figures, and the last errors with what their scripts have written to standard
// error. What requests do for it costs some atomic additions and no allocation; all of it is
// bounded.
package live
