package config

import "fmt"

// features are keys of a route that this version cannot do yet. To lift one, delete it.
var features = []string{}

const notYet = "not supported in this version"

// unsupported lists the uses of features that are still to come, and marks the routes
// that have them: they are not served.
func (d *decoder) unsupported() []*Error {
	var uses []*Error
	for _, f := range features {
		for i := range d.root.Routes {
			key := fmt.Sprintf("routes[%d].%s", i, f)
			if _, ok := d.src.marks[key]; !ok {
				continue
			}
			uses = append(uses, d.src.key(key, notYet))
			if r := &d.root.Routes[i]; r.Unsupported == "" {
				r.Unsupported = f + ": " + notYet
			}
		}
	}
	return uses
}
