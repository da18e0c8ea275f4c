
-- The reply is '' for a project that does not exist, and otherwise 'total ended errors flags length phases statusowner'
-- with the length of the status: a string costs less than a table. Only a project without a total has phases: what other
-- services have counted, -1 where there is no such field.
local phases = ''
if total == 0 then
  flags = flags + 8
  local counts = redis.call('HMGET', hash, 'tasks_total', 'tasks_done', 'tasks_errors',
    'crawl_total', 'crawl_done', 'crawl_errors', 'analyze_total', 'analyze_done', 'analyze_errors')
  for i = 1, #counts do
    local count = counts[i] or '-1'
    if count ~= '-1' and not (string.find(count, '^%d+$') and #count < 17 and tonumber(count) <= MOST) then
      count = '0'
    end
    phases = phases .. count .. ' '
  end
end
owner = owner or redis.call('GET', ownerkey) or ''
return string.format('%d %d %d %d %d ', total, ended, errors, flags, #status) .. phases .. status .. owner
