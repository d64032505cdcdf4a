package config

import (
	"math"

	"warmcgi/internal/confine"
)

// UserOwner is the [Route.User] that is each script's owner.
const UserOwner = "owner"

// Owner is for user: owner. The numbers of system users and groups are below these.
type Owner struct {
	// Lowest number of a user. Root is never an owner, nor is nobody (65534). Default: 1000.
	MinUID int `yaml:"min_uid"`

	// Lowest number of a primary group; root's is none, and users that are in it are not run as. Default: 100.
	MinGID int `yaml:"min_gid"`
}

func (o *Owner) setDefaults(*Config) { o.MinUID, o.MinGID = 1000, 100 }

// Owners is what package confine makes the rules of a route's scripts from, where they run as their owners.
func (r *Route) Owners() (*confine.Owners, error) {
	o := Owner{}
	o.setDefaults(nil)
	if r.Owner != nil {
		o = *r.Owner
	}
	lowest := func(n int) uint32 { return uint32(min(int64(n), math.MaxUint32)) }
	return confine.NewOwners(confine.Policy{
		MinUID: lowest(o.MinUID), MinGID: lowest(o.MinGID), Group: r.Group, Limits: r.Limits.Confine(), Script: r.Limits.Together(), Sandbox: r.Sandbox.Confine(),
	})
}
