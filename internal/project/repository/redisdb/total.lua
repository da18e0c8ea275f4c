-- Stores the number of items. ARGV[2]: the total; ARGV[3]: the status that goes with it.
if not found then
  return ''
end
if status == 'DONE' or status == 'FAILED' then
  refused = total ~= tonumber(ARGV[2])
  refresh = not refused
else
  total = tonumber(ARGV[2])
  -- A status of another service stays.
  if status == '' or status == 'INITIALIZING' or status == 'CRAWLING' or status == 'PROCESSING'
      or status == 'PROCESSING_WAIT' then
    status = ARGV[3]
    redis.call('HSET', hash, 'total', ARGV[2], 'status', status)
  else
    redis.call('HSET', hash, 'total', ARGV[2])
  end
  refresh = true
end
