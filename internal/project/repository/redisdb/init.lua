-- Creates missing fields and overwrites none. ARGV[2]: the owner, or ''; ARGV[3]: the total, or 0 while unknown.
local missing = {}
if status == '' then
  status = 'INITIALIZING'
  missing = {'status', status}
end
local wanted = tonumber(ARGV[3])
if total == 0 and wanted > 0 and status ~= 'DONE' and status ~= 'FAILED' then
  total = wanted
  missing[#missing + 1] = 'total'
  missing[#missing + 1] = ARGV[3]
else
  refused = total == 0 and wanted > 0
  if not fields[2] then
    missing[#missing + 1] = 'total'
    missing[#missing + 1] = 0
  end
end
-- The sets hold the counted items. They are empty, unless the hash alone was lost: if the counters then started at 0,
-- those items would never count again.
if not fields[3] then
  done = redis.call('SCARD', items)
  missing[#missing + 1] = 'done'
  missing[#missing + 1] = done
end
if not fields[4] then
  errors = redis.call('SCARD', failed)
  missing[#missing + 1] = 'errors'
  missing[#missing + 1] = errors
end
if #missing > 0 then
  redis.call('HSET', hash, unpack(missing))
end

owner = redis.call('GET', ownerkey)
if not owner and ARGV[2] ~= '' then
  owner = ARGV[2]
  redis.call('SET', ownerkey, owner)
end
refresh = true
