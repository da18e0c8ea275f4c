-- Stores how many items there are. ARGV[2] the total, ARGV[3] the status that goes with it.
if not found then
  return {0}
end
if final() and total ~= tonumber(ARGV[2]) then
  return answer(false, true, redis.call('GET', ownerkey))
end

local changes = {}
if not final() then
  total = tonumber(ARGV[2])
  changes = {'total', ARGV[2]}
  local ours = {[''] = 1, INITIALIZING = 1, CRAWLING = 1, PROCESSING = 1, PROCESSING_WAIT = 1}
  if ours[status] then
    status = ARGV[3]
    changes[3], changes[4] = 'status', status
  end
end
local crossed = store(changes)
return answer(crossed, false, refresh())
