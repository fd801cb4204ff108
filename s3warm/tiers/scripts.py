"""What has to happen at once on the server: in Lua, one round trip each, on keys that share a slot of a cluster.

An object is a hash: `h` its head, `b` its body, `t` when it was validated, `g` its generation. A later validation is never replaced by an earlier
one. An object that was dropped has a new generation and nothing else for a while: who has looked at it before brings nothing any more, whatever
its clock says. `t` and `g` are not authenticated: who changes them can keep something from being shared, and no more. A `t` that lies in the
future, beyond what clocks differ, counts for nothing. `pcall`, as there may be something of another type, which is replaced.
"""

from __future__ import annotations

__all__ = ["ANY", "BEGIN", "END", "FIND", "LOOK", "PUT", "SWAP", "TAKE", "WITHDRAW"]

ANY = b"*"  # in place of a generation: of whichever

# KEYS: object. ARGV: validated at, the latest time that is believed, milliseconds to keep it, the generation that was seen, a new one (or ''),
# head, body (or nothing). A script that has written may go beyond `maxmemory`: so the body is the first that is written.
PUT = """
local function put()
  if ARGV[7] then return redis.pcall('HSET', KEYS[1], 't', ARGV[1], 'h', ARGV[6], 'b', ARGV[7]) end
  return redis.pcall('HSET', KEYS[1], 't', ARGV[1], 'h', ARGV[6])
end
local held = redis.pcall('HMGET', KEYS[1], 't', 'g')
if not held.err then
  if ARGV[4] ~= '*' and (held[2] or '') ~= ARGV[4] then return 0 end
  local t = held[1] and tonumber(held[1])
  if t and t > tonumber(ARGV[1]) and t <= tonumber(ARGV[2]) then return 0 end
end
local done = put()
if type(done) == 'table' and done.err then
  redis.call('DEL', KEYS[1])
  if not held.err then return done end
  done = put()
  if type(done) == 'table' and done.err then return done end
end
if not ARGV[7] then redis.call('HDEL', KEYS[1], 'b') end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'g', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""

# KEYS: object. ARGV: the largest body that is wanted.
FIND = """
local found = redis.pcall('HMGET', KEYS[1], 'h', 'g')
if found.err then return found end
local whole = redis.call('HSTRLEN', KEYS[1], 'b') <= tonumber(ARGV[1])
return {found[1], found[2], whole and redis.call('HGET', KEYS[1], 'b')}
"""

# KEYS: object. ARGV: validated at, milliseconds to keep it, the head that is replaced, the new one.
SWAP = """
if redis.pcall('HGET', KEYS[1], 'h') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], 't', ARGV[1], 'h', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# KEYS: object. ARGV: the new generation, milliseconds to remember it.
WITHDRAW = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'g', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""

# KEYS: log. ARGV: milliseconds to keep it. It is never empty, so that who finds none knows that one is gone. The number of its first entry, or ''.
BEGIN = """
if redis.call('EXISTS', KEYS[1]) == 1 then return '' end
local first = redis.call('XADD', KEYS[1], '*', 'b', '')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return first
"""

# KEYS: object, its lease. ARGV: the token of who wants the lease, for how many milliseconds. Whoever had it may just have brought the object.
TAKE = """
local mine, head = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]), redis.pcall('HGET', KEYS[1], 'h')
if type(head) == 'table' then head = '' end
return {head, mine and ARGV[1] or false}
"""

# KEYS: object, its lease. "": something that is none of ours, as a lease without an end is.
LOOK = """
local head, holder = redis.pcall('HGET', KEYS[1], 'h'), redis.pcall('GET', KEYS[2])
if type(head) == 'table' then head = '' end
if holder and (type(holder) == 'table' or redis.call('PTTL', KEYS[2]) == -1) then holder = '' end
return {head, holder}
"""

# KEYS: lease. ARGV: the holder's token, what to leave in its place (or nothing), for how many milliseconds.
END = """
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) else redis.call('DEL', KEYS[1]) end
return 1
"""
