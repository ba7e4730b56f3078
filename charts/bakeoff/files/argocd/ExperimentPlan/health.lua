-- By the conditions, as kstatus, with two differences: work under way is Progressing, so that a sync wave or a hook waits for the
-- end, and with the annotation bakeoff.dev/gate the outcome counts as well. Suspended and Unknown are never returned: the one
-- would make the whole Application Suspended, the other fails a hook.
local status = obj.status or {}
local gate = (obj.metadata.annotations or {})["bakeoff.dev/gate"]

local function condition(name)
  for _, one in ipairs(status.conditions or {}) do
    if one.type == name then
      return one
    end
  end
end

local function words(one)
  return one.reason .. ": " .. one.message
end

if gate ~= nil and gate ~= "decision" then
  return { status = "Degraded", message = "the annotation bakeoff.dev/gate of a plan is decision, and not " .. gate }
end
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waits for the operator to read the spec" }
end

local succeeded = condition("Succeeded")
if succeeded ~= nil and succeeded.status == "True" then
  if gate == nil or status.outcome == "Go" then
    return { status = "Healthy", message = words(succeeded) }
  end
  local outcome = "no phase was run"
  if status.outcome ~= nil then
    outcome = "the last phase that ran is " .. status.outcome
  end
  return { status = "Degraded", message = "does not pass the gate decision: " .. outcome .. ". " .. words(succeeded) }
elseif succeeded ~= nil and succeeded.status == "False" then
  if succeeded.reason ~= "Cancelled" then
    return { status = "Degraded", message = words(succeeded) }
  end
  if gate ~= nil then
    return { status = "Degraded", message = "does not pass the gate decision: " .. words(succeeded) }
  end
  return { status = "Healthy", message = words(succeeded) .. " (somebody wanted it)" }
end

local accepted, waiting, drifted = condition("Accepted"), condition("Waiting"), condition("Drifted")
if accepted ~= nil and accepted.status == "False" then
  return { status = "Degraded", message = words(accepted) }
end
local more = ""
if drifted ~= nil and drifted.status == "True" then
  more = ". " .. words(drifted)
end
if waiting ~= nil and waiting.status == "True" then
  return { status = "Progressing", message = words(waiting) .. more }
end
if succeeded == nil then
  return { status = "Progressing", message = "waits for the operator to say where it stands" }
end
if succeeded.reason == "Suspended" and gate == nil then
  return { status = "Healthy", message = words(succeeded) .. more }
end
return { status = "Progressing", message = words(succeeded) .. more }
