
-- What has ended. A failure that this service counted is in done as well; another service counts one in errors only.
local ended = done
if errors > 0 then
  ended = done + math.max(0, errors - redis.call('SCARD', failed))
end
local flags = 0 -- 1 crossed, 2 unsignalled, 4 refused, 8 phases
