"""Deployments, the commits they shipped and the incidents they caused; and the measures computed from them."""
