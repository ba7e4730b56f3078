-- Whether the schedule itself works, as of a CronJob: a run that failed is said and makes nothing Degraded, because that would stop
-- the promotion of an Application for what one night found. With the annotation bakeoff.dev/gate: regression a history that got
-- worse does. Suspended is never returned: it would make the whole Application Suspended.
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

if gate ~= nil and gate ~= "regression" then
  return { status = "Degraded", message = "the annotation bakeoff.dev/gate of a schedule is regression, and not " .. gate }
end
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waits for the operator to read the spec" }
end
local accepted = condition("Accepted")
if accepted == nil then
  return { status = "Progressing", message = "waits for the operator to say whether it can run" }
end
-- FailuresStopped: too many runs in a row failed, and no more is begun.
if accepted.status ~= "True" or accepted.reason == "FailuresStopped" then
  return { status = "Degraded", message = words(accepted) }
end

local last, regressed = condition("LastRunSucceeded"), condition("Regressed")
local message = words(accepted)
if last ~= nil and last.status == "False" then
  message = message .. ". The last run did not go to its end: " .. words(last)
end
if regressed ~= nil and regressed.status == "True" then
  if gate == "regression" then
    return { status = "Degraded", message = "does not pass the gate regression: " .. words(regressed) }
  end
  message = message .. ". The history got worse: " .. words(regressed)
end
return { status = "Healthy", message = message }
