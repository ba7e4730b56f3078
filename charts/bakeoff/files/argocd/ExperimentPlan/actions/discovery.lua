-- What has ended, or is about to, is neither held nor gone on with.
local status = obj.status or {}
local over = obj.spec.cancel == true or status.state == "Ending" or status.completionTime ~= nil
local held = obj.spec.suspend == true

return {
  suspend = { iconClass = "fa fa-fw fa-pause", disabled = over or held },
  resume = { iconClass = "fa fa-fw fa-play", disabled = over or not held },
  cancel = { iconClass = "fa fa-fw fa-stop", disabled = over },
}
