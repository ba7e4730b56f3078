-- By the conditions, as kstatus, with two differences: work under way is Progressing, so that a sync wave or a hook waits for the
-- end, and with the annotation bakeoff.dev/gate the verdict counts as well. Suspended and Unknown are never returned: the one
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

-- What the gate asks for and the experiment does not have; nil where nothing is missing.
local function missed()
  if gate == "objectives" then
    local met = condition("ObjectivesMet")
    if met == nil then
      return "its objectives were not judged"
    end
    if met.status ~= "True" then
      return words(met)
    end
  elseif gate == "decision" then
    if status.decision == nil then
      return "nothing was decided (spec.decision)"
    end
    if status.decision.outcome ~= "Go" then
      return status.decision.rule .. " is " .. status.decision.outcome .. ": " .. status.decision.reason
    end
  end
end

if gate ~= nil and gate ~= "objectives" and gate ~= "decision" then
  return { status = "Degraded", message = "the annotation bakeoff.dev/gate is objectives or decision, and not " .. gate }
end
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waits for the operator to read the spec" }
end
local succeeded = condition("Succeeded")
if succeeded == nil then
  return { status = "Progressing", message = "waits for the operator to say where it stands" }
end

if succeeded.status == "True" then
  local what = missed()
  if what ~= nil then
    return { status = "Degraded", message = "does not pass the gate " .. gate .. ": " .. what }
  end
  return { status = "Healthy", message = words(succeeded) }
elseif succeeded.status == "False" then
  if succeeded.reason ~= "Cancelled" then
    return { status = "Degraded", message = words(succeeded) }
  end
  if gate ~= nil then
    return { status = "Degraded", message = "does not pass the gate " .. gate .. ": " .. words(succeeded) }
  end
  return { status = "Healthy", message = words(succeeded) .. " (somebody wanted it)" }
elseif succeeded.reason == "Suspended" and gate == nil then
  return { status = "Healthy", message = words(succeeded) }
end
return { status = "Progressing", message = words(succeeded) }
