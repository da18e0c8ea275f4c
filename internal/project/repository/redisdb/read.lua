-- Reads a project and changes nothing. ended.lua and reply.lua follow.
if not found then
  return ''
end
